"""A run folder: `model.safetensors`, `run.json`, `rows.parquet` and `metrics.json`."""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

from coun.engine.process_group import ProcessGroup
from coun.errors import CounError
from coun.files import (
    LOCK,
    REGISTRY_DATABASE,
    REGISTRY_WORK,
    RUN_WEIGHTS,
    check_writable,
    is_temporary,
    locked,
    read_json,
    remove_temporary,
    write_sealed,
)
from coun.files import expanded as expanded
from coun.runs.record import RunRecord, parse_record

WEIGHTS, RECORD, ROWS, METRICS = RUN_WEIGHTS, "run.json", "rows.parquet", "metrics.json"
OUT_OF_FOLD = "out_of_fold.npz"
CHECKPOINT = "checkpoint"
FOLDS = "folds"  # where an unfinished preparation of a run keeps the models of finished folds
_log = logging.getLogger(__name__)


def read_record(folder: Path, *, complete: bool = True) -> RunRecord:
    """Read the `run.json` of *folder*.

    Raises: CounError if it is missing, damaged or of another version, or, where *complete* is
        True, of a run that is not finished.
    """
    if not folder.is_dir():
        raise CounError(f"{folder} is not a folder; expected a run folder written by coun")
    if _is_registry(folder):
        raise CounError(
            f"{folder} is a registry; name one of its versions, such as "
            f"{folder / 'versions' / '1'} ('coun registry show {shlex.quote(str(folder))}' says "
            "which one is served)"
        )
    record = parse_record(read_json(folder / RECORD), folder / RECORD)
    if complete and record.status != "complete":
        raise CounError(f"the run in {folder} is not finished; repeat its command to resume it")
    return record


def warn_unverified(folder: Path, record: RunRecord) -> None:
    """Say, once for a folder that is opened, that nothing shows whether its record was changed."""
    if not record.verified:
        _log.warning(
            "%s has no checksum, because an earlier version wrote it; its content is unverified",
            folder / RECORD,
        )


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
    """Write the `run.json` of *folder* with its checksum, whole or not at all."""
    write_sealed(folder / RECORD, record.to_json())


@contextlib.contextmanager
def reserved(folder: Path | None, record: RunRecord) -> Iterator[bool]:
    """Reserve *folder* for the run *record* within the block; no folder needs none.

    Yields whether that run is already complete there; the folder then need not be writable, so
    that it may lie on a read-only share. Otherwise it stays locked within the
    block. If the block fails before any weights were saved, the folder is given back.

    Of several processes the main one does it for all; the others wait and read the result.

    Raises: CounError if the folder holds another run or other files, if another process is
        writing it, or if it cannot be written.
    """
    processes = ProcessGroup.current()
    if folder is None or not processes.is_main:
        processes.barrier()
        yield folder is not None and read_record(folder, complete=False).status == "complete"
        return
    if _check_content(folder, record):
        _clear_traces(folder)
        processes.barrier()
        yield True
        return
    is_new = not folder.exists()
    try:
        with locked(folder):
            finished = _check_content(folder, record)  # another process may have been quicker
            if not finished:
                if (folder / CHECKPOINT).is_dir():
                    remove_temporary(folder / CHECKPOINT)
                write_record(folder, record)
            processes.barrier()
            try:
                yield finished
            except CounError:
                _give_back(folder)
                raise
    finally:
        with contextlib.suppress(OSError):
            if is_new:
                folder.rmdir()  # an empty folder only: what a run saved keeps it


def _check_content(folder: Path, record: RunRecord) -> bool:
    """Return whether *folder* holds the run *record*, complete; refuse any other content."""
    if (folder / RECORD).exists():
        present = read_record(folder, complete=False)
        if record.identity not in (present.identity, _named_as(record, present).identity):
            differences = ", ".join(present.differences(record)) or "its environment"
            raise CounError(
                f"{folder} holds another run (it differs in {differences}); choose another "
                "--out, or delete it first"
            )
        return present.status == "complete"
    _check_no_other_files(folder)
    return False


def _named_as(record: RunRecord, present: RunRecord) -> RunRecord:
    """Return *present*, whose model is called as in *record* if that is the same file.

    Records of earlier versions name the file of a model by its path from a working directory.
    """
    earlier, name = (Path(each.model.name or "") for each in (present, record))
    if present.status != "complete" or earlier.is_absolute() or not name.is_absolute():
        return present
    if name.parts[-len(earlier.parts) :] != earlier.parts:
        return present
    model = present.model.model_copy(update={"name": str(name)})
    return present.model_copy(update={"model": model}).identified()


def check_place(folder: str | Path | None) -> None:
    """Refuse a place for a run that cannot be written or holds something else.

    `reserved` checks the same, and which run it is, when the work that leads to its record is done.

    Raises: CounError if *folder* is neither new, nor empty, nor a run folder.
    """
    if folder is None:
        return
    folder = expanded(folder)
    refuse_inside_run(folder)
    if (folder / RECORD).exists():
        return
    _check_no_other_files(folder)
    check_writable(folder)


def refuse_inside_run(folder: Path) -> None:
    """Refuse to write results to *folder* if it lies in the folder of a run or of a registry.

    They would be deleted or moved with it. Only the models of folds, which coun makes for the run
    itself, and the candidates of a registry lie there.

    Raises: CounError that names the outer folder.
    """
    place = Path(os.path.realpath(folder))  # which accepts a link to itself
    for outer in place.parents:
        if not place.is_relative_to(outer / FOLDS) and _is_run(outer):
            what = "run"
        elif _is_registry(outer) and not place.is_relative_to(outer / REGISTRY_WORK):
            what = "registry"
        else:
            continue
        raise CounError(
            f"{folder} lies inside the {what} folder {outer}; expected a place outside it, so that "
            "neither is changed or deleted with the other"
        )


def refuse_version(folder: Path) -> None:
    """Refuse to change the run *folder* if it is a version of a registry.

    The registry has the digests of its files, and would take the change for tampering.

    Raises: CounError that names the registry.
    """
    for outer in Path(os.path.realpath(folder)).parents:
        if _is_registry(outer):
            raise CounError(
                f"{folder} is a version of the registry {outer}, which accepts no change of it; "
                "copy the folder to a place outside, prepare the copy, and begin a registry with "
                "it (coun registry init --from)"
            )


def _is_registry(folder: Path) -> bool:
    """Whether *folder* is that of a registry."""
    return os.path.isfile(folder / REGISTRY_DATABASE)


def _is_run(folder: Path) -> bool:
    """Whether *folder* holds the record of a run, and not only a file of the same name."""
    with contextlib.suppress(CounError):
        return os.path.isfile(folder / RECORD) and bool(read_record(folder, complete=False))
    return False


def _check_no_other_files(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise CounError(f"{folder} is a file; expected a folder, choose another --out")
    if folder.exists() and any(p for p in folder.iterdir() if not _is_incidental(p)):
        raise CounError(f"{folder} is not empty and not a run folder; choose another --out")


def _is_incidental(path: Path) -> bool:
    """Whether *path* is only a trace of a process that is starting, or was killed."""
    return path.name == LOCK or is_temporary(path)


def _clear_traces(folder: Path) -> None:
    """Remove from a finished run what a process left that was killed just before its end."""
    checkpoint = folder / CHECKPOINT
    if checkpoint.exists() or any(map(_is_incidental, folder.iterdir())):
        # A folder that is read-only, or that another process is reading in, stays as it is.
        with contextlib.suppress(CounError), locked(folder):
            shutil.rmtree(checkpoint, ignore_errors=True)


def _give_back(folder: Path) -> None:
    """Remove the record of a run that failed before any of its weights were saved, so that the
    same command with other settings can use *folder*."""
    if all(path.name == RECORD or _is_incidental(path) for path in folder.iterdir()):
        remove_temporary(folder)
        (folder / RECORD).unlink(missing_ok=True)
