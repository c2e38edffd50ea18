"""The chain of requests that led to a model, and what it must keep forgotten."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from coun.data import Data, Split
from coun.data.requests import parse_recorded
from coun.data.split_rows import union, without
from coun.errors import CounError
from coun.methods.retrain import Retrain
from coun.runs.folder import expanded, read_record, warn_unverified
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

    Args: folder: of the run.

    Raises: CounError if the folder holds no finished run.

    >>> import tempfile
    >>> import coun
    >>> data, folder = coun.load("digits", limit=50), Path(tempfile.mkdtemp())
    >>> _ = coun.train(data, "mlp", epochs=1, out=folder / "original")
    >>> split = coun.Split.random(data, 0.1)
    >>> _ = coun.unlearn(folder / "original", split, "finetune", epochs=1, out=folder / "run")
    >>> [step.method for step in history(folder / "run")]
    ['retrain', 'finetune']
    """
    path = expanded(folder)
    record = read_record(path)
    warn_unverified(path, record)
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
    split.check_ids(data)
    if torch.equal(split.forget, earlier.forget):
        return with_test_rows(earlier, split)
    return split.after(data, earlier)


def with_test_rows(split: Split, other: Split) -> Split:
    """Return *split*, whose measurements also leave out the test rows that *other* names."""
    more = without(other.held_out, split.held_out)
    return replace(split, held_out=union(split.held_out, more)) if len(more) else split


def measured(split: Split | None, run_split: Split | None, data: Data) -> Split | None:
    """Join the request to measure with what the run has forgotten already.

    Other than for `accumulated`, the request may repeat rows that were forgotten before.
    """
    if split is None or run_split is None:
        return split or run_split
    if bool(torch.isin(split.forget, run_split.forget).all()):
        return with_test_rows(run_split, split)
    return accumulated(split, run_split, data)


def with_memory_of_parents(
    folder: Path, record: RunRecord, split: Split, data: Data
) -> tuple[Split, str | None]:
    """Add to *split* what the parents of a run of version 0.1 forgot, which its record lacks.

    Returns: the split, and a warning where a parent that may have forgotten rows is gone.
    """
    warning, rows = None, [split.forget[:0]]
    while record.parent is not None and record.parent.folder and not record.ancestors:
        parent = parent_folder(record, folder)
        if parent is None:
            if record.parent.method != Retrain.name:
                warning = (
                    f"what {folder}'s parents forgot is not on record, because "
                    f"{record.parent.folder} is gone; name those rows in the next request too"
                )
            break
        folder, record = parent, read_record(parent)
        if record.split is not None:
            rows.append(Split.from_json(data, record.split, allow_missing=True).forget)
    before = union(*rows)
    if not len(before) or bool(torch.isin(before, split.forget).all()):
        return split, warning
    if bool(torch.isin(split.forget, before).all()):
        return split.extended(data, without(before, split.forget), before[:0]), warning
    return split.after(data, before), warning


def parent_folder(record: RunRecord, folder: Path | None) -> Path | None:
    """Find the folder of the run that *record* started from, also beside *folder*."""
    parent = record.parent
    if parent is None or parent.folder is None:
        return None
    for candidate in possible_folders(parent.folder, folder):
        with contextlib.suppress(CounError):
            if read_record(candidate).weights_sha256 == parent.weights_sha256:
                return candidate
    return None


def possible_folders(recorded: str, folder: Path | None) -> list[Path]:
    """Say where a run may be: in the *recorded* folder, or beside *folder* if both were moved."""
    place = expanded(recorded)
    return [place] if folder is None else [place, folder.parent / place.name]


def _in_words(split: dict[str, Any]) -> str | None:
    """Describe the recorded request; one of version 0.1 has a scenario only."""
    if "request" in split:
        return " and ".join(parse_recorded(request).describe() for request in split["request"])
    scenario = split.get("scenario", {})
    return ", ".join(f"{key} {value}" for key, value in scenario.items()) or None
