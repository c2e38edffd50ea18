"""The run folders of a registry: their digests, and the removal of names from their records."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from coun.data.keyed_rows import without_names
from coun.data.row_table import RowTable
from coun.errors import CounError
from coun.files import cannot_write, file_digest
from coun.runs import Run
from coun.runs.folder import METRICS, OUT_OF_FOLD, RECORD, ROWS, WEIGHTS, read_record, write_record
from coun.runs.kept_epochs import FOLDER as EPOCHS

KEPT = (WEIGHTS, RECORD, ROWS)  # what a version consists of, and what is checked

Numbers = Mapping[str, list[int]]  # row numbers by part


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of the files of a version, by name. Raises: CounError if one is missing."""
    missing = [name for name in KEPT if not (folder / name).is_file()]
    if missing:
        raise CounError(f"{folder / missing[0]} is missing; restore it from a copy")
    return {name: file_digest(folder / name) for name in (*KEPT, *_optional(folder))}


def _optional(folder: Path) -> list[str]:
    """What else belongs to a version whose model was prepared, or has kept epochs, for requests."""
    files = (folder / OUT_OF_FOLD, *sorted((folder / EPOCHS).glob("*.safetensors")))
    return [file.relative_to(folder).as_posix() for file in files if file.is_file()]


def copy_version(source: Path, target: Path) -> None:
    """Copy the files of a run into a new folder, and the file of metrics if there is one.

    Raises: CounError if they cannot be written.
    """
    try:
        target.mkdir(parents=True)
        for name in (*KEPT, *_optional(source), METRICS):
            if (source / name).is_file():
                (target / name).parent.mkdir(exist_ok=True)
                shutil.copyfile(source / name, target / name)
                sync(target / name)
                sync((target / name).parent)
    except OSError as error:
        raise cannot_write(target, error) from None


def write_table(out: Path, folder: Path, table: RowTable) -> None:
    """Write *table*, and the record of *folder* with its digest, to *out*."""
    out.mkdir(parents=True, exist_ok=True)
    table.save(out / ROWS)
    record = read_record(folder)
    described = record.data.model_copy(update={"rows_sha256": file_digest(out / ROWS)})
    split = record.split
    if split is not None:
        split = {**split, "request": [_by_number(entry, split) for entry in split["request"]]}
    write_record(out, record.model_copy(update={"data": described, "split": split}))


def _by_number(entry: dict[str, object], split: dict[str, list[int]]) -> dict[str, object]:
    """A recorded request without ids: a list of ids becomes one of numbers."""
    if not entry.get("ids"):
        return entry
    earlier = set(split["earlier"])
    new = [number for number in split["forget"] if number not in earlier]
    return {"kind": "listed", "rows": new, "ids": [], "test_rows": split["held_out"]}


def nameless_table(table: RowTable, rows: Mapping[bytes, Numbers]) -> RowTable:
    """Return *table* without the names of some rows; see `remove_names`."""
    for key, numbers in rows.items():
        chosen = np.zeros(len(table.ids), bool)
        for part, numbers_of_part in numbers.items():
            chosen |= (table.parts == part) & np.isin(table.numbers, numbers_of_part)
        table = without_names(table, np.flatnonzero(chosen), key)
    return table


def left_out_test_rows(run: Run) -> int:
    """How many test rows measurements of *run* leave out: requests name them, or methods read them.

    >>> import coun
    >>> left_out_test_rows(coun.train(coun.load("digits", limit=50), "mlp", epochs=1))
    0
    """
    return 0 if run.split is None else len(run.data.test) - len(run.split.test_rows(run.data))


def sync(path: Path) -> None:
    """Make sure that a file or the entries of a folder are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def move(source: Path, target: Path) -> None:
    """Rename a folder in one step, and make sure that it is on the disk.

    Raises: CounError if that fails.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.rename(source, target)
        sync(target.parent)
    except OSError as error:
        raise cannot_write(target, error) from None
