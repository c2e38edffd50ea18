"""The data of a run, found again and compared with its record."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coun.data import Data, load
from coun.data.keyed_rows import keys_beside
from coun.data.row_table import RowTable, align, load_recorded
from coun.errors import CounError, counted
from coun.files import file_digest
from coun.runs.folder import (
    RECORD,
    ROWS,
)
from coun.runs.record import RunRecord


def recorded_data(
    folder: Path, run: RunRecord, data: Data | str | None, *, allow_missing: bool
) -> tuple[Data, Tensor | None]:
    """Load the data of a run, or take *data*, and give its rows their recorded numbers.

    A run without a row table (of version 0.1) is compared by the fingerprint of all rows.

    Returns: the data; and the numbers of the recorded training rows in their order, (n,)
        int64, those deleted by now included, or None without a row table.

    Raises: CounError if the data cannot be loaded, or is not what the run recorded.
    """
    record = run.data
    spelling = data if isinstance(data, str) else record.source
    if data is None and not spelling:
        raise CounError(f"{folder} was made from data passed in Python; pass data=... again")
    path = folder / ROWS
    if path.exists():
        if record.rows_sha256 and file_digest(path) != record.rows_sha256:
            raise CounError(f"{path} is not the file that the run wrote; restore it from a copy")
        table = replace(RowTable.load(path), keys=keys_beside(folder))
        _check_roles(folder, run, table)
        where: dict[str, Any] = {"limit": record.limit, **record.origin}
        try:
            if isinstance(data, Data):
                data, _ = align(data, table, allow_missing=allow_missing)
            else:
                data, _ = load_recorded(table, spelling or "", allow_missing=allow_missing, **where)
        except CounError as error:
            if isinstance(data, Data) and data.source and data.source != (record.source or ""):
                raise _of_other_data(folder, record.source, data.source, error) from None
            raise _with_hint(folder, error) from None
        return data, torch.from_numpy(table.numbers[table.parts == "train"])
    if record.rows_sha256:
        raise CounError(f"{path} is missing, but the run wrote it; restore it from a copy")
    try:
        if not isinstance(data, Data):
            data = load(spelling or "", limit=record.limit, **record.origin)
    except CounError as error:
        raise _with_hint(folder, error) from None
    if data.fingerprint != record.fingerprint:
        raise CounError(
            f"the data of {folder} changed: its fingerprint was {record.fingerprint[:12]}, "
            f"now it is {data.fingerprint[:12]}; restore the data or train again"
        )
    return data, None


def _check_roles(folder: Path, record: RunRecord, table: RowTable) -> None:
    """Refuse a record whose forgotten rows are not those of the row table."""
    split = record.split or {"forget": [], "earlier": [], "request": []}
    if "request" not in split:
        return  # version 0.1 numbered rows in another way, and wrote no row table
    training = table.parts == "train"
    earlier = np.isin(table.numbers, split["earlier"]) & training
    forget = np.isin(table.numbers, split["forget"]) & training & ~earlier
    for role, expected in (("forget", forget), ("earlier", earlier)):
        differing = np.flatnonzero(((table.roles == role) & training) != expected)
        if len(differing):
            raise CounError(
                f"{folder / RECORD} and {folder / ROWS} differ in the role of "
                f"{counted(len(differing), 'row')}, '{table.ids[differing[0]]}' first; one was "
                "changed, restore both from a copy"
            )


def _of_other_data(folder: Path, source: str | None, given: str, error: CounError) -> CounError:
    made_from = source or "data passed in Python"
    return CounError(
        f"{folder} was made from {made_from}, whose rows are not those of {given}: {error}; "
        "expected the same data for all runs; name runs of one data set"
    )


def _with_hint(folder: Path, error: CounError) -> CounError:
    return CounError(f"{folder}: {error}; if the data was moved, say where it is now with --data")
