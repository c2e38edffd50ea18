"""What `metrics.json` says of a model, and where it is kept."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BeforeValidator, ConfigDict, Field, ValidationError

from coun.data import Split
from coun.errors import CounError
from coun.files import json_digest, locked, read_json, unsealed, write_sealed
from coun.runs.folder import METRICS
from coun.runs.record import Record

VERSION: Literal[2] = 2
LOCK_SECONDS = 10.0  # as long as another process may take to write its metrics


def _finite(values: Any) -> Any:
    """Leave out what is not a number: null in a file stands for NaN and infinity."""
    if not isinstance(values, dict):
        return values
    numbers = {name: value for name, value in values.items() if value is not None}
    return {n: v for n, v in numbers.items() if not isinstance(v, float) or math.isfinite(v)}


Finite = Annotated[dict[str, float], BeforeValidator(_finite)]


class StartRecord(Record):
    """The model before unlearning: its digest, the rows it was measured on, its metrics."""

    weights_sha256: str
    counts: dict[str, int]
    metrics: Finite


class Metrics(Record):
    """The content of `metrics.json`; further keys are registered metrics, by name.

    Attributes:
        retain_accuracy, unlearn_accuracy, test_accuracy, mia_efficacy: percent; None where
            they cannot be measured, and `not_measured` then says why, by name.
        counts: numbers of rows by part.
        split_sha256: the digest of the forget request; None without one.
        start: the model before unlearning, with its metrics.
        change: how much each metric rose since then.
        retrain: the values of the Retrains, in the mean over them.
        gap: the differences from these means, model minus Retrain.
        average_gap: the mean over the Retrains of the average gap, in points.
        against: the folders of the Retrains.
        floor: what the comparisons with a Retrain give between the Retrains, where there are
            at least two.
        warnings: what a reader must know before using the numbers.
        metrics_left_out: why metrics of plug-ins are left out, by name.

    >>> Metrics(
    ...     retain_accuracy=99.5,
    ...     unlearn_accuracy=4.0,
    ...     test_accuracy=97.5,
    ...     mia_efficacy=8.0,
    ...     counts={"retain": 900, "forget": 100, "test": 359},
    ...     split_sha256=None,
    ... ).to_json()["test_accuracy"]
    97.5
    """

    model_config = ConfigDict(extra="allow")

    version: Literal[2] = VERSION
    retain_accuracy: float | None
    unlearn_accuracy: float | None
    test_accuracy: float | None
    mia_efficacy: float | None
    counts: dict[str, int]
    split_sha256: str | None
    not_measured: dict[str, str] = Field(default_factory=dict)
    warnings: list[str] = Field(default_factory=list)
    metrics_left_out: dict[str, str] = Field(default_factory=dict)
    start: StartRecord | None = None
    change: Finite | None = None
    retrain: Finite | None = None
    gap: Finite | None = None
    average_gap: float | None = None
    against: str | list[str] | None = None
    floor: Finite | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the values that were given, as plain JSON values."""
        return self.model_dump(mode="json", exclude_unset=True)


def metrics_path(folder: Path, split: Split | None, recorded: Split | None) -> Path:
    """Return the file for the metrics of *split*.

    That is `metrics.json` for the request on record of the run; each other request has a file
    of its own, so that no measurement replaces that of another request. Requests that differ
    only in the test rows that they name are different ones.
    """
    if split is None or (recorded is not None and _digest(split) == _digest(recorded)):
        return folder / METRICS
    return folder / f"metrics-{_digest(split)[:12]}.json"


def _digest(split: Split) -> str:
    """The digest of all that a measurement depends on: that of the split, and its test rows."""
    if not len(split.held_out):
        return split.digest
    tests = split.held_out.sort().values.to(torch.int64).numpy().tobytes()
    return hashlib.sha256(split.digest.encode() + tests).hexdigest()


def read_metrics(path: Path) -> Metrics | None:
    """Read the metrics at *path*; None if there are none, or they are of version 0.1.

    Raises: CounError if the file is damaged, or was changed after it was written.
    """
    if not path.exists():
        return None
    advice = "move it away, it is then measured again"
    content, _ = unsealed(read_json(path), path, advice)
    if not isinstance(content, dict) or "version" not in content:
        return None
    try:
        return Metrics.model_validate(content)
    except ValidationError as error:
        raise CounError(f"{path} is damaged; {advice}") from error


def write_metrics(path: Path, metrics: Metrics) -> str | None:
    """Write *metrics* to *path* with a checksum, whole or not at all, and overwrite nothing.

    Metrics that are there already are completed where all common values agree, for example by
    the gap to a Retrain. Others are kept, and *metrics* get a file of their own beside them.

    Returns: a sentence if the metrics are not at *path*, because other metrics are there or the
        folder cannot be written; else None.
    """
    try:
        with locked(path.parent, wait=LOCK_SECONDS):
            return _write_beside(path, metrics.to_json())
    except CounError as error:
        return f"the metrics were not saved: {error}"


def _write_beside(path: Path, content: dict[str, Any]) -> str | None:
    note = None
    if path.exists():
        try:
            present = read_metrics(path)
        except CounError as error:
            return f"the metrics were not saved: {error}"
        before = present.to_json() if present else {}
        common = (before.keys() & content.keys()) - {"warnings"}
        if present and all(before[key] == content[key] for key in common):
            content = {**before, **content}
            if content == before:
                return None
        else:
            other = path.with_name(f"{path.stem}-{json_digest(content)[:8]}.json")
            note = f"{path} holds other metrics and is kept; these are in {other.name}"
            path = other
    write_sealed(path, content)
    return note
