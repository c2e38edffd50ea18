"""What an audit gives back."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from coun.audit.evidence import TestFamily
from coun.audit.scores import Subject
from coun.audit.verdict import Verdict
from coun.data import Data, Split
from coun.files import write_json
from coun.runs import Run


@dataclass(eq=False)
class Audit:
    """The verdict, all numbers behind it, and the models with their outputs.

    Attributes:
        split, data: the request, and the data that holds its rows.
        unlearned, retrains, original: the models under audit and what they are compared with.
        family, of_original: the tests, and the same tests of the Original.
        measures: the metrics of each model, by its name.
        distances: how far a model is from the Retrains, in the mean over them: by the name of
            an unlearned model, "Original", and "floor" (between two or more Retrains); empty
            without Retrains.
        seeds: RA, UA, TA and MIA over the seeds, and the gap of the means; None without Retrains.
        semantics: which classes forgotten rows are given.
        optional: relearning, attacks with shadow models and theory, where requested.
        missing: how many forgotten rows the data no longer has.

    >>> import coun
    >>> from coun.audit import audit
    >>> data = coun.load("digits", limit=60)
    >>> original = coun.train(data, "mlp", epochs=1)
    >>> found = audit(original, split=coun.Split.random(data, 0.2), rest=False, relearn=False)
    >>> [subject.name for subject in found.subjects], found.verdict.label
    (['this model'], 'inconclusive')
    """

    verdict: Verdict
    split: Split
    data: Data
    unlearned: tuple[Subject, ...]
    retrains: tuple[Subject, ...]
    original: Subject | None
    family: TestFamily
    of_original: TestFamily | None
    measures: dict[str, dict[str, Any]] = field(default_factory=dict)
    distances: dict[str, dict[str, Any]] = field(default_factory=dict)
    seeds: dict[str, Any] | None = None
    semantics: dict[str, Any] = field(default_factory=dict)
    optional: dict[str, Any] = field(default_factory=dict)
    missing: int = 0

    @property
    def subjects(self) -> tuple[Subject, ...]:
        """All models: the unlearned, the Retrains, the Original."""
        return self.unlearned + self.retrains + ((self.original,) if self.original else ())

    @property
    def runs(self) -> dict[str, Run]:
        """The runs of all models by name."""
        return {s.name: s.run for s in self.subjects if s.run is not None}

    def suspicious(self) -> list[dict[str, Any]]:
        """The forgotten rows that stand out most: id, class, position in `data.train`, p and q."""
        rows = self.split.rows(self.data, "forgotten")
        ids, labels = self.data.train.ids, self.data.train.labels
        return [
            {
                "id": ids[int(rows[s.slot])],
                "class": self.data.classes[int(labels[rows[s.slot]])],
                "position": int(rows[s.slot]),
                "p": s.p,
                "q": s.q,
            }
            for s in self.family.suspicious
        ]

    def to_json(self, *, show_rows: bool = True, below: Path | None = None) -> dict[str, Any]:
        """Everything except the models; a number that is not finite is written as null.

        Args:
            show_rows: also the ids of the forgotten rows that stand out.
            below: the folder from which paths of models are named (see `folder_of`).
        """
        return {
            "verdict": self.verdict.to_json(),
            "request": {
                "scenario": self.split.scenario,
                "content": self.family.parts.kind,
                "seed": self.split.seed,
                "forget": len(self.split.forget),
                "missing": self.missing,
                "retain": len(self.split.retain),
                "sha256": self.split.digest,
            },
            "models": {
                name: {
                    "folder": folder_of(run, below),
                    "kind": run.record.kind,
                    "method": run.record.method.name,
                    "seed": run.record.seed,
                    "weights_sha256": run.record.weights_sha256,
                }
                for name, run in self.runs.items()
            },
            "suspicious_rows": self.suspicious() if show_rows else None,
            "original_evidence": [asdict(e) for e in self.of_original.tests]
            if self.of_original
            else None,
            "measures": self.measures,
            "distances": self.distances,
            "seeds": self.seeds,
            "semantics": self.semantics,
            **self.optional,
        }

    def save(
        self, folder: str | Path, *, show_rows: bool = True, below: Path | None = None
    ) -> Path:
        """Write `audit.json` in *folder*, with what `to_json` gives, and return its path."""
        path = Path(folder) / "audit.json"
        write_json(path, self.to_json(show_rows=show_rows, below=below))
        return path


def folder_of(run: Run, below: Path | None = None) -> str | None:
    """The folder of *run* or the file of given weights, or None for a model in memory.

    Args: below: name the folder from here, and one elsewhere by its last part, so that a page for
        others does not show how the disk of its writer is arranged.
    """
    where = run.folder or run.weights_file
    if where is None or below is None:
        return str(where) if where else None
    folder = where.absolute()
    return folder.relative_to(below).as_posix() if folder.is_relative_to(below) else folder.name
