"""What an interrupted command left, and how it is finished."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from coun.data.row_table import RowTable
from coun.errors import TamperingFound
from coun.files import cannot_write, file_digest
from coun.registry.layout import VERSIONS, WORK, version_folder
from coun.registry.versions import move, nameless_table, sync, write_table
from coun.runs.folder import RECORD, ROWS

if TYPE_CHECKING:
    from coun.registry.registry import Registry


def recover(registry: Registry) -> None:
    """Finish what an interrupted command left; see `Registry.recover`."""
    _finish_moves(registry)
    _remove_names_from_versions(registry)


def _finish_moves(registry: Registry) -> None:
    """Put a version that was moved into place but never entered back into its work folder."""
    state = registry.state()
    folder = version_folder(registry.folder, max(state.versions) + 1)
    if folder.is_dir():
        passed = [a for a in state.running.attempts if a["passed"]] if state.running else []
        if not passed:
            raise TamperingFound(
                f"{folder} is not in the ledger, so this registry did not make it; move it away"
            )
        attempt = passed[-1]
        work = registry.folder / WORK / str(attempt["fulfilment"])
        target = work / f"{attempt['attempt']}-{attempt['method']}"
        if target.exists():
            shutil.rmtree(folder)
        else:
            move(folder, target)
    for version in state.versions.values():
        if version.discarded:
            shutil.rmtree(version_folder(registry.folder, version.number), ignore_errors=True)
    if state.running is None and (registry.folder / WORK).is_dir():
        for left in (registry.folder / WORK).iterdir():
            shutil.rmtree(left, ignore_errors=True)


def _remove_names_from_versions(registry: Registry) -> None:
    """Replace names of fulfilled rows by keyed hashes in the records of all versions.

    The new files are staged, then entered in the ledger, then put in place. An interruption
    leaves a version with files of before, of after, or one of each; this function mends that.
    """
    for number in registry.state().pending_files:
        _put_in_place(registry, number)
    state = registry.state()
    fulfilled = {r.number for r in state.requests.values() if r.versions and not r.shredded}
    behind = [v for v in state.versions.values() if fulfilled - v.nameless and not v.discarded]
    rows = registry.rows_by_key(fulfilled) if behind else {}
    for version in behind:
        folder = version_folder(registry.folder, version.number)
        table = RowTable.load(folder / ROWS)
        nameless = nameless_table(table, rows)
        files = {}
        if nameless.ids != table.ids:
            staged = _staged(registry, version.number)
            write_table(staged, folder, nameless)
            sync(staged)
            files = {name: file_digest(staged / name) for name in (ROWS, RECORD)}
        with registry.ledger.transaction():
            body = {"version": version.number, "files": files, "nameless": sorted(fulfilled)}
            registry.append("files", body)
        _put_in_place(registry, version.number)
    if behind:
        registry.ledger.flush()


def _staged(registry: Registry, version: int) -> Path:
    return registry.folder / VERSIONS / f".{version}.staged"


def _put_in_place(registry: Registry, version: int) -> None:
    staged, folder = _staged(registry, version), version_folder(registry.folder, version)
    try:
        for name in (ROWS, RECORD):
            if (staged / name).is_file():
                os.replace(staged / name, folder / name)
        sync(folder)
        shutil.rmtree(staged, ignore_errors=True)
    except OSError as error:
        raise cannot_write(folder, error) from None
    with registry.ledger.transaction():
        registry.append("files done", {"version": version})
