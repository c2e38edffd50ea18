"""A run folder: `model.safetensors`, `run.json`, `rows.parquet` and `metrics.json`."""

from __future__ import annotations

import contextlib
from pathlib import Path

from coun.engine.process_group import ProcessGroup
from coun.errors import CounError
from coun.files import read_json, write_json
from coun.runs.record import RunRecord, parse_record

WEIGHTS, RECORD, ROWS, METRICS = "model.safetensors", "run.json", "rows.parquet", "metrics.json"
CHECKPOINT = "checkpoint"


def expanded(path: str | Path) -> Path:
    """Return *path* with a leading "~" replaced by the home folder."""
    return Path(path).expanduser()


def read_record(folder: Path, *, complete: bool = True) -> RunRecord:
    """Read the `run.json` of *folder*.

    Raises: CounError if it is missing, damaged or of another version, or, where *complete* is
        True, of a run that is not finished.
    """
    if not folder.is_dir():
        raise CounError(f"{folder} is not a folder; expected a run folder written by coun")
    record = parse_record(read_json(folder / RECORD), folder / RECORD)
    if complete and record.status != "complete":
        raise CounError(f"the run in {folder} is not finished; repeat its command to resume it")
    return record


def refuse_weights_of_run(path: Path) -> None:
    """Refuse the weights file of a run that forgot rows: on its own it has no memory of them.

    Raises: CounError if the `run.json` beside *path* is of such a run, or cannot be read.
    """
    folder = path.parent
    if path.name != WEIGHTS or not (folder / RECORD).exists():
        return
    with contextlib.suppress(CounError):
        record = read_record(folder, complete=False)
        if record.kind == "original" and record.split is None:
            return
    raise CounError(
        f"{folder} is a run folder; name the folder, so that what it forgot stays forgotten"
    )


def write_record(folder: Path, record: RunRecord) -> None:
    """Write the `run.json` of *folder*, whole or not at all."""
    write_json(folder / RECORD, record.to_json())


def reserve_folder(folder: Path, record: RunRecord) -> bool:
    """Reserve *folder* for the run *record*; return whether that run is already complete there.

    Of several processes the main one does it for all; the others wait and read the result.

    Raises: CounError if the folder holds another run or other files, or cannot be written.
    """
    processes = ProcessGroup.current()
    if not processes.is_main:
        processes.barrier()
        return read_record(folder, complete=False).status == "complete"
    finished = _reserve_on_disk(folder, record)
    processes.barrier()
    return finished


def _reserve_on_disk(folder: Path, record: RunRecord) -> bool:
    if folder.exists() and not folder.is_dir():
        raise CounError(f"{folder} is a file; expected a folder, choose another --out")
    if (folder / RECORD).exists():
        present = read_record(folder, complete=False)
        if present.identity != record.identity:
            differences = ", ".join(present.differences(record)) or "its environment"
            raise CounError(
                f"{folder} holds another run (it differs in {differences}); choose another "
                "--out, or delete it first"
            )
        if present.status == "complete":
            return True
    elif folder.exists() and any(p for p in folder.iterdir() if not p.name.endswith(".tmp")):
        raise CounError(f"{folder} is not empty and not a run folder; choose another --out")
    write_record(folder, record)
    return False


def abandon_folder(folder: Path) -> None:
    """Remove *folder* if its run failed before any of its weights were saved, so that the same
    command with other settings can use it."""
    is_main = ProcessGroup.current().is_main
    if is_main and [path.name for path in folder.iterdir()] == [RECORD]:
        (folder / RECORD).unlink()
        folder.rmdir()
