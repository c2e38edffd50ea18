"""An append-only list of events in SQLite, in which each entry has the hash of the one before.

The order of events is that of the entries. Clocks may go back; the time of an entry is only what
the clock said.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self

from coun.errors import CounError, TamperingFound

SCHEMA_VERSION = 1
BUSY_SECONDS = 30.0
NOTHING_BEFORE = "0" * 64
_STRICT = " STRICT" if sqlite3.sqlite_version_info >= (3, 37) else ""
_SCHEMA = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL){_STRICT};
CREATE TABLE ledger (
    sequence INTEGER PRIMARY KEY,
    time TEXT NOT NULL,
    kind TEXT NOT NULL,
    body TEXT NOT NULL,
    previous TEXT NOT NULL,
    sha256 TEXT NOT NULL UNIQUE
){_STRICT};
CREATE TRIGGER ledger_is_never_updated BEFORE UPDATE ON ledger
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER ledger_is_never_deleted_from BEFORE DELETE ON ledger
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
"""


class Entry(NamedTuple):
    """One event: its place, counted from 1, what the clock said, its kind and its content."""

    sequence: int
    time: str
    kind: str
    body: dict[str, Any]
    previous: str
    sha256: str


class Ledger:
    """The database of a registry, and the ledger in it.

    One process writes at a time: `transaction` takes SQLite's own write lock, and others wait
    for it. An interrupted process leaves nothing of its transaction behind.

    Args:
        path: the database file, which must exist; `Ledger.create` makes one.

    Raises: CounError if it is missing or of another version; TamperingFound if it is damaged.

    >>> import tempfile
    >>> ledger = Ledger.create(Path(tempfile.mkdtemp(), "registry.sqlite"))
    >>> with ledger.transaction():
    ...     _ = ledger.append("request", {"rows": 3})
    >>> [(entry.kind, entry.body) for entry in ledger.entries()], ledger.problems()
    ([('request', {'rows': 3})], [])
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise CounError(f"{path} does not exist; expected a registry (coun registry init DIR)")
        self.path = path
        with self.readable_errors():
            self.connection = _connect(path)
            version = self.connection.execute("PRAGMA user_version").fetchone()[0]
        if version != SCHEMA_VERSION:
            self.connection.close()
            if version == 0:
                raise TamperingFound(f"{path} is empty or damaged; restore it from a copy")
            raise CounError(
                f"{path} has schema version {version}; this coun reads version {SCHEMA_VERSION}; "
                "use the coun that wrote it, or restore the file from a copy"
            )

    @classmethod
    def create(cls, path: Path, schema: str = "") -> Self:
        """Make an empty database at *path*, with further tables by the SQL in *schema*.

        Raises: CounError if the file exists or cannot be written.
        """
        if path.exists():
            raise CounError(f"{path} exists; choose another folder")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            connection = _connect(path)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(
                f"BEGIN; {_SCHEMA} {schema} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
            )
            connection.close()
        except (OSError, sqlite3.Error) as error:
            raise CounError(f"cannot write {path}: {error}; choose another folder") from None
        return cls(path)

    def close(self) -> None:
        """Close the database; an open transaction is undone."""
        self.connection.close()

    @contextlib.contextmanager
    def readable_errors(self) -> Iterator[None]:
        """Turn errors of SQLite into one line that says what to do."""
        try:
            yield
        except UnicodeEncodeError as error:  # of a text that is written
            text = ascii(error.object[max(0, error.start - 20) : error.end])
            raise CounError(
                f"{text} is not valid Unicode, so that it cannot be recorded; write it otherwise"
            ) from None
        except (sqlite3.Error, UnicodeError) as error:  # damaged text may be in its own message
            text = " ".join(str(error).split())
            advice = ""
            if "locked" in text or "busy" in text:
                advice = "another process writes to it; try again"
            elif "full" in text:
                advice = "free some space and repeat the command; nothing was changed"
            elif "readonly" in text or "unable to open" in text:
                advice = "the folder is read-only; make it writable"
            elif "disk I/O" in text:
                advice = "the disk could not be read or written; try again"
            if advice:
                raise CounError(f"{self.path}: {text}; {advice}") from None
            raise TamperingFound(
                f"{self.path} is damaged: {text}; restore it from a copy"
            ) from None

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Write everything in the block, or nothing; other writers wait."""
        with self.readable_errors():
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield self.connection
                self.connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    self.connection.execute("ROLLBACK")
                raise

    def flush(self) -> None:
        """Empty the write-ahead log, so that what was deleted is in no file any more."""
        with self.readable_errors():
            self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

    def append(self, kind: str, body: dict[str, Any]) -> Entry:
        """Add an entry at the end; only inside a `transaction`."""
        if not self.connection.in_transaction:
            raise RuntimeError("append needs a transaction")
        last = self.connection.execute(
            "SELECT sequence, sha256 FROM ledger ORDER BY sequence DESC LIMIT 1"
        ).fetchone()
        sequence, previous = (1, NOTHING_BEFORE) if last is None else (last[0] + 1, last[1])
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        entry = Entry(sequence, now, kind, body, previous, "")
        entry = entry._replace(sha256=entry_digest(entry))
        self.connection.execute(
            "INSERT INTO ledger VALUES (?, ?, ?, ?, ?, ?)",
            (sequence, now, kind, canonical(body), previous, entry.sha256),
        )
        self.set_meta("head", f"{sequence} {entry.sha256}")
        return entry

    def entries(self) -> list[Entry]:
        """All entries in their order, as they are stored; `problems` checks them.

        Raises: TamperingFound if an entry cannot be read.
        """
        with self.readable_errors():
            rows = self.connection.execute("SELECT * FROM ledger ORDER BY sequence").fetchall()
        entries = []
        for sequence, time, kind, body, previous, digest in rows:
            try:
                content = json.loads(body)
                if not isinstance(content, dict):
                    raise TypeError
            except (TypeError, ValueError, RecursionError):
                raise TamperingFound(
                    f"{self.path}: entry {sequence} of the ledger was edited and cannot be read; "
                    "restore the file from a copy"
                ) from None
            entries.append(Entry(sequence, time, kind, content, previous, digest))
        return entries

    def meta(self, key: str) -> str | None:
        """The value that `set_meta` stored, or None."""
        with self.readable_errors():
            row = self.connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def set_meta(self, key: str, value: str) -> None:
        """Store *value*; only inside a `transaction`."""
        self.connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def head(self) -> tuple[int, str]:
        """The number of entries, and the SHA-256 of the last one."""
        with self.readable_errors():
            row = self.connection.execute(
                "SELECT sequence, sha256 FROM ledger ORDER BY sequence DESC LIMIT 1"
            ).fetchone()
        return (0, NOTHING_BEFORE) if row is None else (int(row[0]), str(row[1]))

    def problems(self) -> list[str]:
        """Name every entry that was edited, removed, replaced or moved; empty if none was."""
        with self.readable_errors():
            rows = self.connection.execute("SELECT * FROM ledger ORDER BY sequence").fetchall()
            triggers = self.connection.execute(
                "SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'ledger'"
            ).fetchone()[0]
        problems = [] if triggers == 2 else ["the triggers that forbid changes were removed"]
        before, previous = 0, NOTHING_BEFORE
        for row in rows:
            sequence, kind, digest = row[0], " ".join(str(row[2]).split()), row[5]
            name = f"entry {sequence} ({kind})"
            if sequence != before + 1:
                problems.append(f"{_range(before + 1, sequence - 1)} removed from the ledger")
            place = _place_of(row, len(rows) + 1)
            if place is None:
                problems.append(f"{name} was edited")
            elif place != sequence:
                problems.append(f"{name} was moved: it was written as entry {place}")
            elif row[4] != previous and sequence == before + 1:
                problems.append(f"{name} does not follow entry {before}, which was replaced")
            before, previous = sequence, digest
        head = (self.meta("head") or "0 ").split(" ")
        if head[0].isdigit() and int(head[0]) > before:
            problems.append(f"{_range(before + 1, int(head[0]))} removed from the ledger")
        elif head != [str(before), previous] and rows:
            problems.append(f"entry {before} is not the last one that was written")
        return problems


def canonical(value: Any) -> str:
    """JSON with sorted keys and without blanks, so that equal values have equal hashes.

    >>> canonical({"b": [1, 2], "a": "ü"})
    '{"a":"ü","b":[1,2]}'
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def entry_digest(entry: Entry) -> str:
    """The SHA-256 of the canonical JSON of all parts of an entry but its own digest."""
    content = entry._asdict()
    del content["sha256"]
    return hashlib.sha256(canonical(content).encode()).hexdigest()


def _place_of(row: tuple[Any, ...], count: int) -> int | None:
    """The place for which the digest of a stored entry is right; None if it is wrong for all."""
    try:
        body = json.loads(row[3])
        if canonical(body) != row[3]:
            return None
        for place in (row[0], *range(1, count + 1)):
            if entry_digest(Entry(place, row[1], row[2], body, row[4], "")) == row[5]:
                return int(place)
    except (TypeError, ValueError, RecursionError, UnicodeEncodeError):
        pass
    return None


def _range(first: int, last: int) -> str:
    return f"entry {first} was" if first == last else f"entries {first} to {last} were"


def _connect(path: Path) -> sqlite3.Connection:
    """Open the database for reading and writing, or for reading where that is all one may do."""
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        connection.close()
        if "readonly" not in str(error) and "unable to open" not in str(error):
            raise
        # The write-ahead log needs a writable folder; a file that nobody can write is constant.
        uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
        connection = sqlite3.connect(uri, uri=True, isolation_level=None)
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA secure_delete = ON")  # deleted ids leave no trace in free pages
    return connection
