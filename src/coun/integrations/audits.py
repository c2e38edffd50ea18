"""The verdict of an audit, for other programs, after a check that it is about the model."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ValidationError

from coun.audit import Audit
from coun.errors import CounError
from coun.files import read_json


class Verdict(BaseModel):
    """The parts of the verdict in an audit.json that other programs are told."""

    label: str
    headline: str
    sentence: str
    caveats: list[str]


class _Model(BaseModel):
    weights_sha256: str


class _Document(BaseModel):
    """The parts of an audit.json that are read here."""

    verdict: Verdict
    models: dict[str, _Model]


def verdict_about(weights_sha256: str, audit: Audit | str | Path) -> Verdict:
    """Return the verdict of *audit*, or of the folder that `coun audit --out` wrote.

    Raises: CounError if the file is not an audit's, or the audit is of a model with other
        weights than *weights_sha256*.
    """
    if isinstance(audit, Audit):
        verdict = Verdict.model_validate(audit.verdict.to_json())
        digests = [s.run.record.weights_sha256 for s in audit.unlearned if s.run is not None]
    else:
        path = Path(audit) / "audit.json"
        try:
            document = _Document.model_validate(read_json(path))
        except ValidationError as error:
            place = ".".join(map(str, error.errors()[0]["loc"])) or "an object"
            raise CounError(
                f"{path} does not fit: {place} is missing or of another type; expected the file "
                "that coun audit --out writes"
            ) from None
        verdict = document.verdict
        digests = [
            model.weights_sha256
            for name, model in document.models.items()
            if name.partition(" ")[0] not in ("Retrain", "Original")
        ]
    if weights_sha256 not in digests:
        raise CounError(
            f"the audit is of a model with the weights {', '.join(d[:12] for d in digests)}; "
            f"expected {weights_sha256[:12]}, those of the run"
        )
    return verdict
