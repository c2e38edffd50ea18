"""A run folder: `model.safetensors`, `run.json` and `metrics.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from coun.engine.process_group import ProcessGroup
from coun.errors import CounError
from coun.files import read_json, write_json

FORMAT = 1
WEIGHTS, RECORD, METRICS, CHECKPOINT = "model.safetensors", "run.json", "metrics.json", "checkpoint"


def read_record(folder: Path, *, complete: bool = True) -> dict[str, Any]:
    """The `run.json` of *folder*.

    Raises: CounError if it is missing, damaged, of another format, or unfinished while
        *complete* is asked for.
    """
    if not folder.is_dir():
        raise CounError(f"{folder} is not a folder; expected a run folder written by coun")
    record = read_json(folder / RECORD)
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise CounError(f"{folder / RECORD} is not a run record of format {FORMAT}")
    if complete and record.get("status") != "complete":
        raise CounError(f"the run in {folder} is not finished; repeat its command to resume it")
    return record


def claim(folder: Path, record: dict[str, Any]) -> bool:
    """Take *folder* for the run *record*; True if that very run is already complete there.

    Of several ranks the first takes it for all; the others then find it taken.

    Raises: CounError if the folder holds another run or other files, or cannot be written.
    """
    ranks = ProcessGroup.current()
    if not ranks.is_main:
        ranks.barrier()
        return bool(read_record(folder, complete=False)["status"] == "complete")
    finished = _claim(folder, record)
    ranks.barrier()
    return finished


def _claim(folder: Path, record: dict[str, Any]) -> bool:
    if folder.exists() and not folder.is_dir():
        raise CounError(f"{folder} is a file; expected a folder, choose another --out")
    if (folder / RECORD).exists():
        found = read_record(folder, complete=False)
        if found.get("identity") != record["identity"]:
            differs = ", ".join(_differences(found, record)) or "its environment"
            raise CounError(
                f"{folder} holds another run (it differs in {differs}); choose another --out, or "
                "delete it first"
            )
        if found["status"] == "complete":
            return True
    elif folder.exists() and any(p for p in folder.iterdir() if not p.name.endswith(".tmp")):
        raise CounError(f"{folder} is not empty and no run folder; choose another --out")
    write_json(folder / RECORD, {**record, "status": "running"})
    return False


def release(folder: Path) -> None:
    """Give *folder* back where the run in it failed before anything of it was saved, so that
    the command with other settings can use it."""
    if ProcessGroup.current().is_main and [path.name for path in folder.iterdir()] == [RECORD]:
        (folder / RECORD).unlink()
        folder.rmdir()


def _differences(a: dict[str, Any], b: dict[str, Any]) -> list[str]:
    keys = ("data", "model", "split", "method", "seed", "compute", "parent")
    return [k for k in keys if _plain(a.get(k)) != _plain(b.get(k))]


def _plain(value: Any) -> Any:
    """What JSON makes of *value*: tuples are lists."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value
