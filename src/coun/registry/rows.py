"""The rows of a request: which ones they are, their commitment, and their key."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from coun.certificates import Commitment, commit
from coun.data import Data, Split, with_copies
from coun.data.content import copies, row_hashes, rows_like
from coun.data.keyed_rows import KEYS, content_leaf, id_leaf
from coun.data.requests import Class, Listed, Request
from coun.data.split_rows import without
from coun.errors import CounError, TamperingFound
from coun.files import cannot_write
from coun.ledger import canonical

SCHEMA = """
CREATE TABLE request_rows (
    request INTEGER NOT NULL,
    part TEXT NOT NULL CHECK (part IN ('train', 'test')),
    number INTEGER NOT NULL,
    id TEXT,
    id_leaf TEXT NOT NULL,
    content_leaf TEXT NOT NULL,
    PRIMARY KEY (request, part, number)
);
"""


@dataclass(frozen=True)
class NamedRows:
    """Rows that a request names.

    Attributes:
        train, test: numbers of training rows to forget and of test rows to leave out.
        ids: by part and number.
        contents: content hashes by part and number, 16 bytes each.
        matched_by: how the rows were recognised: "id", "number", "content",
            "class".
        kind: "listed", "class" or "mixed".
        notes: sentences about the rows, for the person who enters the request.
    """

    train: tuple[int, ...]
    test: tuple[int, ...]
    ids: dict[tuple[str, int], str]
    contents: dict[tuple[str, int], bytes]
    matched_by: tuple[str, ...]
    kind: str
    notes: tuple[str, ...] = ()


def find_rows(
    data: Data,
    earlier: Split | None,
    *,
    ids: Sequence[str] = (),
    numbers: Sequence[int] = (),
    match: Sequence[str | Path] = (),
    classes: Sequence[str] = (),
    copies_too: bool = False,
) -> NamedRows:
    """Find the rows that a request names, without those that were forgotten before.

    Raises: CounError for a name that no row has, or if nothing is named that is not forgotten.
    """
    requests: list[Request] = []
    matched_by = []
    if ids:
        requests.append(Listed.of_ids(ids))
        matched_by.append("id")
    if numbers:
        requests.append(Listed.of_numbers(numbers))
        matched_by.append("number")
    if match:
        rows, test_rows = rows_like(data, list(match))
        requests.append(Listed(rows=tuple(rows.tolist()), test_rows=tuple(test_rows.tolist())))
        matched_by.append("content")
    requests += [Class(name=str(name)) for name in classes]
    matched_by += ["class"] * bool(classes)
    if not requests:
        raise CounError("the request names no row; expected --ids, --index, --match or --class")
    split = Split.of(data, *requests, earlier=earlier)
    notes = []
    if text := copies(data, split).describe():
        if copies_too:
            split = with_copies(data, split)
            matched_by.append("content")
            notes.append(f"taken along: {text}")
        else:
            notes.append(f"{text}; --with-copies takes them along")
    test = split.held_out if earlier is None else without(split.held_out, earlier.held_out)
    present, contents = _named(data)
    keys = [("train", n) for n in split.new.tolist()] + [("test", n) for n in test.tolist()]
    missing = len(without(split.new, data.train.numbers))
    if missing:
        notes.append(f"{missing:,} of these rows are already deleted from the source")
    return NamedRows(
        tuple(split.new.tolist()),
        tuple(test.tolist()),
        {key: present[key] for key in keys},
        {key: contents[key] for key in keys},
        tuple(dict.fromkeys(matched_by)),
        "class" if not (ids or numbers or match) else "mixed" if classes else "listed",
        tuple(notes),
    )


def _named(data: Data) -> tuple[dict[tuple[str, int], str], dict[tuple[str, int], bytes]]:
    """Ids and content hashes of all rows by part and number, deleted ones included."""
    ids: dict[tuple[str, int], str] = {}
    contents: dict[tuple[str, int], bytes] = {}
    parts = (("train", data.train, data.absent), ("test", data.test, data.absent_test))
    for part, examples, absent in parts:
        numbers = [(part, number) for number in examples.numbers.tolist()]
        ids |= dict(zip(numbers, examples.ids, strict=True))
        hashes = [digest.tobytes() for digest in row_hashes(examples)]
        contents |= dict(zip(numbers, hashes, strict=True))
        if absent is not None and absent.hashes is not None:
            numbers = [(part, number) for number in absent.numbers.tolist()]
            ids |= dict(zip(numbers, absent.ids, strict=True))
            contents |= dict(zip(numbers, (d.tobytes() for d in absent.hashes), strict=True))
    return ids, contents


def commitment_of(rows: NamedRows, key: bytes) -> Commitment:
    """Commit to the ids of all rows; a row of the test part counts as "test/" and its id."""
    return commit((label(part, name) for (part, _), name in rows.ids.items()), key)


def root_of(leaves: Iterable[str]) -> str:
    """The root of the commitment whose leaves, in hexadecimal, are given; no key is needed."""
    ordered = tuple(sorted(bytes.fromhex(leaf) for leaf in leaves))
    return Commitment(ordered, b"").root if ordered else ""


def label(part: str, name: str) -> str:
    """The name under which a commitment holds a row."""
    return name if part == "train" else f"test/{name}"


def store(connection: sqlite3.Connection, request: int, rows: NamedRows, key: bytes) -> None:
    """Write the rows of a request; inside a transaction."""
    connection.executemany(
        "INSERT INTO request_rows VALUES (?, ?, ?, ?, ?, ?)",
        [
            (
                request,
                part,
                number,
                name,
                id_leaf(label(part, name), key),
                content_leaf(rows.contents[part, number], key).hex(),
            )
            for (part, number), name in rows.ids.items()
        ],
    )


def rows_digest(connection: sqlite3.Connection, request: int) -> str:
    """The SHA-256 of the rows of a request without their ids, which go when it is fulfilled.

    The hashes in it are keyed, so it does not tell which rows they are.
    """
    rows = connection.execute(
        "SELECT part, number, id_leaf, content_leaf FROM request_rows WHERE request = ? "
        "ORDER BY part, number",
        (request,),
    ).fetchall()
    return hashlib.sha256(canonical([list(row) for row in rows]).encode()).hexdigest()


def numbers_of(connection: sqlite3.Connection, request: int) -> dict[str, list[int]]:
    """Numbers of the rows of a request, by part."""
    rows = connection.execute(
        "SELECT part, number FROM request_rows WHERE request = ? ORDER BY number", (request,)
    ).fetchall()
    return {part: [number for p, number in rows if p == part] for part in ("train", "test")}


def as_request(connection: sqlite3.Connection, request: int) -> Listed:
    """The request as methods and records take it: by number, without any id."""
    numbers = numbers_of(connection, request)
    return Listed(rows=tuple(numbers["train"]), test_rows=tuple(numbers["test"]))


def forgotten_ids(
    connection: sqlite3.Connection, folder: Path, fulfilled: Iterable[int], ids: Iterable[str]
) -> set[str]:
    """Those of *ids* that *fulfilled* requests named; their keyed hashes say so."""
    remaining = set(ids)
    named = set()
    for request in fulfilled if remaining else ():
        key = read_key(folder, request)
        query = "SELECT id_leaf FROM request_rows WHERE request = ?"
        leaves = {leaf for (leaf,) in connection.execute(query, (request,))}
        named |= {
            name
            for name in remaining
            if any(id_leaf(label(part, name), key) in leaves for part in ("train", "test"))
        }
    return named


def forget_ids(connection: sqlite3.Connection, requests: Iterable[int]) -> None:
    """Remove the ids of fulfilled requests; their keyed hashes stay. Inside a transaction."""
    connection.executemany(
        "UPDATE request_rows SET id = NULL WHERE request = ?", [(number,) for number in requests]
    )


def key_path(folder: Path, request: int) -> Path:
    """Where the key of a request is."""
    return folder / KEYS / f"request-{request}.key"


def write_key(folder: Path, request: int, key: bytes) -> None:
    """Write the key of a request, readable by its owner only; one left by a failed command goes.

    Raises: CounError if it cannot be written.
    """
    path = key_path(folder, request)
    try:
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(key.hex() + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise cannot_write(path, error) from None


def read_key(folder: Path, request: int) -> bytes:
    """Read the key of a request. Raises: TamperingFound if it is missing or damaged."""
    path = key_path(folder, request)
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
        if len(key) != 32:
            raise ValueError
    except (OSError, ValueError):
        raise TamperingFound(
            f"the key of request {request}, {path}, is missing or damaged; restore it from a copy"
        ) from None
    return key


def destroy_key(folder: Path, request: int) -> None:
    """Overwrite the key of a request, and delete its file.

    Raises: CounError if the file cannot be deleted.
    """
    path = key_path(folder, request)
    try:
        with contextlib.suppress(FileNotFoundError), path.open("r+b") as file:
            # The file system may keep the old blocks; deleting alone would certainly leave them.
            file.write(b"0" * path.stat().st_size)
            file.flush()
            os.fsync(file.fileno())
        path.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(path, error) from None
