"""An audit: does an unlearned model treat forgotten rows as a model that never saw them would?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import permutations
from pathlib import Path
from typing import Any

from coun.analysis import theory as theory_table
from coun.audit.evidence import ALPHA, Family, gather
from coun.audit.extra import relearned, shadowed
from coun.audit.measures import average, compare, describe
from coun.audit.scores import Subject
from coun.audit.seeds import over_seeds
from coun.audit.semantics import semantics
from coun.audit.verdict import Verdict, decide
from coun.data import Data, Split
from coun.errors import CounError
from coun.files import write_json
from coun.methods import catalogue
from coun.runs import Run, predictions

MARGIN = 2.0
Model = Run | str | Path


@dataclass(eq=False)
class Audit:
    """The verdict, all numbers behind it, and the models with what they said of every row.

    Attributes:
        unlearned, retrains, original: the models under audit and what they are held against.
        measures: what `describe` found, by model name.
        distances: by unlearned model, "floor" (between Retrains, if two or more) and
            "original": the mean of `compare` over Retrains; empty without Retrains.
        seeds: of `over_seeds`; None without Retrains.
        semantics: where forgotten rows go.
        extra: relearning, shadow models and theory, where asked for.
    """

    verdict: Verdict
    split: Split
    data: Data
    unlearned: tuple[Subject, ...]
    retrains: tuple[Subject, ...]
    original: Subject | None
    of_original: Family | None
    measures: dict[str, dict[str, Any]] = field(default_factory=dict)
    distances: dict[str, dict[str, Any]] = field(default_factory=dict)
    seeds: dict[str, Any] | None = None
    semantics: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def subjects(self) -> tuple[Subject, ...]:
        """All models: the unlearned, the Retrains, the Original."""
        return self.unlearned + self.retrains + ((self.original,) if self.original else ())

    def to_json(self) -> dict[str, Any]:
        """All of it but the models; a number that is not finite becomes null when written."""
        return {
            "verdict": self.verdict.to_json(),
            "request": {
                "scenario": self.split.scenario,
                "seed": self.split.seed,
                "forget": len(self.split.forget),
                "retain": len(self.split.retain),
                "sha256": self.split.digest,
            },
            "models": {
                s.name: {
                    "folder": str(s.run.folder) if s.run.folder else None,
                    "kind": s.run.record["kind"],
                    "method": s.run.record["method"]["name"],
                    "seed": s.run.record["seed"],
                    "weights_sha256": s.run.record.get("weights_sha256"),
                }
                for s in self.subjects
            },
            "original_evidence": [asdict(e) for e in self.of_original.tests]
            if self.of_original
            else None,
            "measures": self.measures,
            "distances": self.distances,
            "seeds": self.seeds,
            "semantics": self.semantics,
            **self.extra,
        }

    def save(self, folder: str | Path) -> Path:
        """Write `audit.json` in *folder*; its path."""
        path = Path(folder) / "audit.json"
        write_json(path, self.to_json())
        return path


def audit(
    unlearned: Model | Sequence[Model],
    against: Model | Sequence[Model] = (),
    *,
    original: Model | None = None,
    split: Split | None = None,
    data: Data | None = None,
    margin: float = MARGIN,
    alpha: float = ALPHA,
    rest: bool = True,
    relearn: bool = False,
    theory: bool = False,
    shadows: int = 0,
    cache: str | Path | None = None,
    seed: int = 0,
    progress: bool = False,
) -> Audit:
    """Judge *unlearned* against Retrains, or without any by what forgotten rows alone can tell.

    If the request was drawn at random, or is a whole class, then to models that never saw the
    forgotten rows they are exchangeable with test rows of their class. So whatever the models
    are, (unlearned model's score minus the Retrains' mean score) has one distribution on both,
    and rank tests within classes hold their level with a single Retrain. More Retrains make
    the tests sharper, give distances a floor, and calibrate requests that are lists of rows.

    Args:
        unlearned: one run, or several seeds of one request, judged together.
        against: Retrains of the same request.
        original: the model before unlearning, for "closer than the original".
        split: the forgotten rows, by default those on record of the first run that has any.
        margin: points of accuracy that count as no difference, for the equivalence test.
        alpha: of all tests together (Holm).
        rest: also compute the metrics that the verdict does not need.
        relearn: also time how fast each model relearns the forgotten rows; trains, and needs
            a Retrain and the Original.
        theory: also measure how aligned views are and how steep features.
        shadows: also attack with LiRA and RMIA by so many shadow models; trains them.
        cache: a folder to keep shadow models in.
        seed: of permutations and subsets.

    Raises: CounError if runs are of other data or other requests, a Retrain saw everything, a
        model is given twice, or margin or alpha are out of range.
    """
    if not (0 < margin < 100 and 0 < alpha < 1):
        raise CounError(f"margin {margin}, alpha {alpha}; expected 0 < margin < 100, 0 < alpha < 1")
    mine, theirs = _list(unlearned), _list(against)
    if not mine:
        raise CounError("no model to audit; expected at least one unlearned run")
    if relearn and (not theirs or original is None):
        raise CounError("relearning needs a Retrain and the Original; give both")
    runs: list[Run] = []
    for one in [*mine, *theirs, *([original] if original is not None else [])]:
        runs.append(one if isinstance(one, Run) else Run.open(one, data=data))
        data = data or runs[0].data
    assert data is not None
    split = split or next((run.split for run in runs if run.split), None)
    if split is None:
        raise CounError("no run has a forget request on record; pass split=...")
    count = len(mine) + len(theirs)
    for k, run in enumerate(runs):
        _check(run, data, split, retrain=len(mine) <= k < count)
    weights = [run.record.get("weights_sha256") for run in runs[:count]]
    if len(set(weights)) < count:
        raise CounError("two of the runs have the same weights; expected each model once")
    names = _names(runs, len(mine), len(theirs))
    subjects = [
        Subject(name, run, predictions(run.classifier, data, split, progress=progress), seed)
        for name, run in zip(names, runs, strict=True)
    ]
    first, exact = subjects[: len(mine)], subjects[len(mine) : count]
    before = subjects[count] if original is not None else None
    exchangeable = split.scenario.get("kind") in ("random", "class")

    def tested(models: list[Subject]) -> Family:
        how: dict[str, Any] = {"exchangeable": exchangeable, "margin": margin, "alpha": alpha}
        return gather(models, exact, split, **how, seed=seed)

    family, of_original = tested(first), tested([before]) if before else None
    verdict = decide(
        family, first, exact, split, margin=margin, original=before, of_original=of_original
    )
    found = Audit(
        verdict,
        split,
        data,
        tuple(first),
        tuple(exact),
        before,
        of_original,
    )
    if rest:
        _rest(found, margin)
    models = {s.name: s.run for s in found.subjects}
    if relearn and before is not None:
        found.extra["relearn"] = relearned(models, exact[0].name, before.name, split)
    if theory:
        found.extra["theory"] = theory_table(models, split)
    if shadows:
        found.extra["shadows"] = shadowed(models, data, split, shadows, cache)
    return found


def _rest(found: Audit, margin: float) -> None:
    """All other metrics, into *found*."""
    tables = found.measures
    for subject in found.subjects:
        tables[subject.name] = describe(subject, found.split)

    def distance(a: Subject, b: Subject) -> dict[str, Any]:
        return compare(a, b, tables[a.name], tables[b.name])

    exact, named = found.retrains, {s.name: s for s in found.unlearned}
    if found.original:
        named["Original"] = found.original
    if exact:
        for name, subject in named.items():
            found.distances[name] = average([distance(subject, r) for r in exact])
        mine, theirs = ([tables[s.name] for s in x] for x in (found.unlearned, exact))
        on_record = tuple([s.run.record["seed"] for s in x] for x in (found.unlearned, exact))
        found.seeds = over_seeds(mine, theirs, (on_record[0], on_record[1]), margin=margin)
    if len(exact) > 1:
        found.distances["floor"] = average([distance(a, b) for a, b in permutations(exact, 2)])
    found.semantics = semantics({**named, **{s.name: s for s in exact}}, exact, found.data.classes)


def _list(given: Model | Sequence[Model]) -> list[Model]:
    return [given] if isinstance(given, (Run, str, Path)) else list(given)


def _check(run: Run, data: Data, split: Split, *, retrain: bool) -> None:
    where = str(run.folder) if run.folder else f"a run of {run.record['method']['name']}"
    if run.data.fingerprint != data.fingerprint:
        raise CounError(f"{where} is of other data; expected the same fingerprint for all runs")
    if run.split is None:
        if retrain:
            raise CounError(
                f"{where} was trained on everything; --against expects a Retrain (coun train with "
                "the same forget options)"
            )
    elif retrain and run.record["kind"] == "unlearned" and not _exact(run):
        raise CounError(f"{where} is no Retrain but {run.record['method']['name']}'s result")
    elif run.split.digest != split.digest:
        raise CounError(
            f"{where} forgets {len(run.split.forget)} rows ({run.split.digest[:12]}), the audit is "
            f"of {len(split.forget)} ({split.digest[:12]}); expected the same request for all runs"
        )


def _exact(run: Run) -> bool:
    kind = catalogue().get(run.record["method"]["name"])
    return kind is not None and kind.exact


def _names(runs: Sequence[Run], mine: int, theirs: int) -> list[str]:
    """A short name for each model: the method's, numbered where there are several."""
    found = []
    for k, run in enumerate(runs):
        if k < mine:
            name, many = run.record["method"]["name"], mine > 1
            number = k
        else:
            name, many, number = "Retrain", theirs > 1, k - mine
            if k >= mine + theirs:
                name, many = "Original", False
        if k < mine and name in ("retrain", "original"):
            name = "this model"
        found.append(f"{name} {number + 1}" if many else name)
    return found
