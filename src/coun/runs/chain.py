"""The chain of requests that led to a model, and what it must keep forgotten."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from coun.data import Data, Split
from coun.data.requests import parse
from coun.runs.folder import expanded, read_record
from coun.runs.record import RunRecord, StepRecord


def step_of(record: RunRecord, folder: Path | None) -> StepRecord:
    """Summarise the run of *record* as one step of a history."""
    split = record.split or {}
    forgotten = split.get("forget_count", 0)
    return StepRecord(
        kind=record.kind,
        method=record.method.name,
        weights_sha256=record.weights_sha256,
        request=_in_words(split),
        new_rows=split.get("new_count", forgotten),
        forgotten_rows=forgotten,
        split_sha256=split.get("sha256"),
        seconds=record.cost.seconds,
        flops=record.cost.flops,
        finished=record.finished,
        folder=str(folder) if folder else None,
    )


def history(folder: str | Path) -> list[StepRecord]:
    """List the steps that led to the run in *folder*, oldest first, that run last.

    Only the record is read: neither data nor the folders of earlier runs are needed.

    Raises: CounError if the folder holds no finished run.
    """
    path = expanded(folder)
    record = read_record(path)
    return [*record.ancestors, step_of(record, path)]


def accumulated(split: Split | None, earlier: Split | None, data: Data) -> Split | None:
    """Join a request with what the model to start from has forgotten already.

    Args:
        split: the new request, or None to go on with the one on record.
        earlier: the split of the run to start from, None for an Original.

    Returns: the request whose retained rows hold nothing that *earlier* forgot. A request for
        exactly the same rows is *earlier* itself, which other methods may work on further.

    Raises: CounError if all rows of the request were forgotten before.
    """
    if split is None or earlier is None:
        return split or earlier
    if torch.equal(split.forget, earlier.forget):
        return earlier
    return split.after(data, earlier)


def _in_words(split: dict[str, Any]) -> str | None:
    """Describe the recorded request; one of version 0.1 has a scenario only."""
    if "request" in split:
        return " and ".join(parse(request).describe() for request in split["request"])
    scenario = split.get("scenario", {})
    return ", ".join(f"{key} {value}" for key, value in scenario.items()) or None
