"""Rows that were forgotten and must not be named: keyed hashes in place of ids and contents.

With the key, a row that is still in the source is recognised; without it, nothing is. A registry
keeps one key per deletion request, and destroys it when the request must be unlinkable.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from coun.data.content import HASH_BYTES, listing
from coun.errors import CounError, counted

if TYPE_CHECKING:
    from coun.data.row_matching import CurrentRows
    from coun.data.row_table import RowTable

PREFIX = "hmac:"
KEYS = "keys"  # the folder of keys in a registry
KEY_FILE = "request-*.key"


def key_name(key: bytes) -> str:
    """A short name of *key* that does not reveal it."""
    return hashlib.sha256(b"coun row key" + key).hexdigest()[:16]


def id_leaf(name: str, key: bytes) -> str:
    """The HMAC-SHA-256 of an id, in hexadecimal.

    File names that are not valid UTF-8 keep their bytes.
    """
    return hmac.digest(key, name.encode("utf-8", "surrogateescape"), "sha256").hex()


def content_leaf(content: bytes, key: bytes) -> bytes:
    """The HMAC-SHA-256 of a content hash, as long as such a hash, 16 bytes."""
    return hmac.digest(key, b"content" + content, "sha256")[:HASH_BYTES]


def without_names(table: RowTable, rows: np.ndarray, key: bytes) -> RowTable:
    """Replace ids and content hashes of some rows by keyed hashes; other rows stay.

    Args: rows: positions in *table*; those that have no name any more are left as they are.

    >>> import coun
    >>> from coun.data.row_table import RowTable
    >>> table = RowTable.of(coun.load("digits", limit=20))
    >>> without_names(table, np.array([3]), bytes(32)).ids[3][:5]
    'hmac:'
    """
    ids, hashes = list(table.ids), table.hashes.copy()
    for row in rows.tolist():
        if not ids[row].startswith(PREFIX):
            ids[row] = f"{PREFIX}{key_name(key)}:{id_leaf(ids[row], key)}"
            keyed = content_leaf(table.hashes[row].tobytes(), key)
            hashes[row] = np.frombuffer(keyed, np.uint8)
    return replace(table, ids=tuple(ids), hashes=hashes)


def with_names(table: RowTable, current: CurrentRows, keys: Mapping[str, bytes]) -> RowTable:
    """Give rows of *table* that have no name, but are still in the data, their names again.

    Args: keys: by `key_name`.

    Raises: CounError if a forgotten row is in the data again under another id.
    """
    unnamed = [row for row, name in enumerate(table.ids) if name.startswith(PREFIX)]
    if not unnamed or not keys:
        return table
    ids, hashes = list(table.ids), table.hashes.copy()
    clear_ids = set(table.ids)
    nameless = set(unnamed)
    clear_contents = {
        digest.tobytes() for row, digest in enumerate(table.hashes) if row not in nameless
    }
    contents = [digest.tobytes() for digest in current.hashes]
    candidates = [
        row
        for row, name in enumerate(current.ids)
        if name not in clear_ids or contents[row] not in clear_contents
    ]
    for name, key in keys.items():
        start = f"{PREFIX}{name}:"
        rows = [row for row in unnamed if table.ids[row].startswith(start)]
        if not rows:
            continue
        by_id = {id_leaf(current.ids[row], key): current.ids[row] for row in candidates}
        by_content = {content_leaf(contents[row], key): contents[row] for row in candidates}
        for row in rows:
            ids[row] = by_id.get(table.ids[row].removeprefix(start), ids[row])
            digest = by_content.get(table.hashes[row].tobytes())
            if digest is not None:
                hashes[row] = np.frombuffer(digest, np.uint8)
    _refuse_return(table, unnamed, ids, hashes, current, candidates)
    return replace(table, ids=tuple(ids), hashes=hashes)


def _refuse_return(
    table: RowTable,
    rows: list[int],
    ids: list[str],
    hashes: np.ndarray,
    current: CurrentRows,
    candidates: list[int],
) -> None:
    """Refuse rows with the content of a forgotten one that no record has under their id."""
    forgotten = {hashes[row].tobytes() for row in rows}
    named = set(ids)
    returned = [
        current.ids[row]
        for row in candidates
        if current.hashes[row].tobytes() in forgotten
        and current.ids[row] not in named
        and ("train" if current.in_training[row] else "test") in table.named
    ]
    if returned:
        raise CounError(
            f"the data has {counted(len(returned), 'row')} with the content of forgotten rows "
            f"under another id: {listing(returned)}; delete what came back"
        )


def keys_beside(folder: Path) -> dict[str, bytes]:
    """The row keys of the registry that the run folder *folder* is in, by `key_name`."""
    keys = {}
    for file in sorted((folder.absolute().parent.parent / KEYS).glob(KEY_FILE)):
        try:
            key = bytes.fromhex(file.read_text(encoding="ascii").strip())
        except (OSError, ValueError):
            continue  # `coun registry check` names a damaged key
        keys[key_name(key)] = key
    return keys
