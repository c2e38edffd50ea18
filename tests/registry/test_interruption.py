"""Interruptions, several processes, a full disk, a wrong clock: nothing is lost or done twice."""

import os
import shutil
import signal
import sqlite3
import threading
import time

import pytest

import coun
from coun.ledger import Entry, Ledger, canonical, entry_digest
from coun.registry import Registry

GUARDS = "DROP TRIGGER ledger_is_never_updated; DROP TRIGGER ledger_is_never_deleted_from;"


@pytest.fixture
def folder(fulfilled_folder, tmp_path):
    return shutil.copytree(fulfilled_folder, tmp_path / "registry")


def change(folder, script):
    """Change the database as somebody with access to the file can."""
    database = sqlite3.connect(folder / "registry.sqlite")
    guards = database.execute("SELECT sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    database.executescript(GUARDS + script + ";".join(sql for (sql,) in guards))
    database.close()


def test_an_entry_cannot_be_changed_by_mistake(folder):
    database = sqlite3.connect(folder / "registry.sqlite")
    for order in ("UPDATE ledger SET time = ''", "DELETE FROM ledger WHERE sequence = 2"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            database.execute(order)


def test_an_entry_that_was_hashed_again_does_not_fit_the_next(folder):
    ledger = Ledger(folder / "registry.sqlite")
    entry = ledger.entries()[3]
    body = {**entry.body, "reason": "fraud"}
    digest = entry_digest(Entry(*entry[:3], body, entry.previous, ""))
    ledger.close()
    change(
        folder,
        f"UPDATE ledger SET body = '{canonical(body)}', sha256 = '{digest}' WHERE sequence = 4;",
    )
    assert any(
        "does not follow entry 4, which was replaced" in p for p in Registry.open(folder).check()
    )


def test_a_clock_that_goes_back_changes_nothing(folder, monkeypatch):
    import datetime

    class Earlier(datetime.datetime):
        @classmethod
        def now(cls, zone=None):
            return datetime.datetime(2020, 1, 1, tzinfo=zone)

    monkeypatch.setattr("coun.ledger.datetime.datetime", Earlier)
    registry = Registry.open(folder)
    registry.withdraw(2)
    monkeypatch.undo()
    summary = registry.summary()
    assert summary.ledger.clock_went_back == 1
    assert not summary.ledger.problems
    assert summary.requests[1].state == "withdrawn"


def test_two_at_once(folder):
    first, second = Registry.open(folder), Registry.open(folder)
    with first.exclusive(), pytest.raises(coun.CounError, match="another process fulfils"):
        second.fulfil()
    entries = len(first.ledger.entries())

    def write():
        other = Registry.open(folder)
        for _ in range(20):
            with other.ledger.transaction():
                other.append("withdrawn", {"request": 2})
        other.close()

    threads = [threading.Thread(target=write) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(first.ledger.entries()) == entries + 60
    assert first.ledger.problems() == []


def test_a_full_disk_leaves_the_registry_as_it_was(folder):
    registry = Registry.open(folder)
    pages = registry.ledger.connection.execute("PRAGMA page_count").fetchone()[0]
    registry.ledger.connection.execute(f"PRAGMA max_page_count = {pages}")
    before = registry.ledger.head()
    with (
        pytest.raises(coun.CounError, match="full; free some space"),
        registry.ledger.transaction(),
    ):
        for _ in range(200):
            registry.append("request", {"text": "x" * 5000})
    assert registry.ledger.head() == before
    assert registry.check() == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_can_be_read(folder):
    for path in (folder, *folder.rglob("*")):
        path.chmod(path.stat().st_mode & ~0o222)
    try:
        registry = Registry.open(folder)
        assert registry.summary().served == 2
        with pytest.raises(coun.CounError, match="read-only"):
            registry.withdraw(2)
    finally:
        for path in (folder, *folder.rglob("*")):
            path.chmod(path.stat().st_mode | 0o200)


@pytest.mark.parametrize("after", ["started", "attempt", "move", "switch", "files"])
def test_an_interruption_at_every_step(fulfilled, monkeypatch, after):
    """Stop as a kill would, then do the same again: nothing twice, nothing lost."""

    class Killed(BaseException):
        pass

    append, move = Registry.append, "coun.registry.fulfilment.move"
    ended = []

    def stop_after(self, kind, body):
        if ended or (after, kind) == ("move", "version"):
            raise Killed
        ended.extend([after] if kind == {"switch": "ended"}.get(after, after) else [])
        return append(self, kind, body)

    monkeypatch.setattr(Registry, "append", stop_after)
    if after == "move":
        from coun.registry.versions import move as real_move

        monkeypatch.setattr(move, lambda *paths: [real_move(*paths), ended.append(after)])
    with pytest.raises(Killed):
        fulfilled.fulfil(method="finetune", settings={"epochs": 1}, page=False)
    monkeypatch.undo()
    again = Registry.open(fulfilled.folder)
    assert again.check() == []
    coun.Run.open(again.served)
    if 2 in again.summary().open:
        lines = []
        again.say = lines.append
        result = again.fulfil(method="finetune", settings={"epochs": 1}, page=False)
        assert result.version == 3
        assert any("was interrupted; it goes on" in line for line in lines)
    again.recover()
    summary = again.summary()
    assert (summary.served, len(summary.versions), summary.open) == (3, 3, ())
    assert len(summary.certificates) == 2
    assert again.check() == []
    assert not any((again.folder / "work").iterdir())
    for version in ("1", "2", "3"):
        assert b"bob" not in (again.folder / "versions" / version / "rows.parquet").read_bytes()


def test_kills_at_random_moments(fulfilled):
    """The short form of benchmarks/registry_kills.py."""
    for moment in (0.02, 0.1, 0.2):
        process = os.fork()
        if not process:
            try:
                fulfilled_again = Registry.open(fulfilled.folder)
                fulfilled_again.fulfil(method="finetune", settings={"epochs": 2}, page=False)
            finally:
                os._exit(0)
        time.sleep(moment)
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        registry = Registry.open(fulfilled.folder)
        assert registry.check() == []
        assert registry.served.is_dir()
        registry.close()
    registry = Registry.open(fulfilled.folder)
    if registry.summary().open:
        registry.fulfil(method="finetune", settings={"epochs": 2}, page=False)
    assert registry.summary().served == 3
    assert registry.check() == []
