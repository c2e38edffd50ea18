"""A commitment to the ids of a request: a Merkle tree over keyed hashes of the ids.

With the key and an id one can prove that the id was in the request. Without the key the
commitment says nothing about any id, so destroying the key makes the ids unlinkable.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from coun.errors import CounError

KEY_BYTES = 32
LEAF, NODE = b"\x00", b"\x01"


@dataclass(frozen=True)
class Proof:
    """The path from one leaf to the root.

    Args:
        index: place of the leaf among the sorted leaves.
        size: number of leaves.
        path: hashes of the neighbouring subtrees, from the leaf upwards.

    >>> proof = commit(["a", "b", "c"], bytes(32)).proof("b")
    >>> proof.size, len(proof.path)
    (3, 2)
    """

    index: int
    size: int
    path: tuple[bytes, ...]


@dataclass(frozen=True, repr=False)
class Commitment:
    """A Merkle tree over the ids of a request, made by `commit`.

    Attributes:
        leaves: the sorted HMAC-SHA-256 values of the ids, 32 bytes each.
        key: the secret key.

    >>> commitment = commit(["cat/7.png", "dog/3.png"], bytes(32))
    >>> "cat/7.png" in commitment, "cat/8.png" in commitment, commitment.proof("cat/7.png").size
    (True, False, 2)
    """

    leaves: tuple[bytes, ...]
    key: bytes

    @property
    def root(self) -> str:
        """The root of the tree, in hexadecimal."""
        return _root(self.leaves).hex()

    @property
    def key_id(self) -> str:
        """A name of the key that does not reveal it, in hexadecimal."""
        return key_id(self.key)

    def proof(self, id: str) -> Proof:
        """Return the proof that *id* is one of the ids.

        Raises: CounError if it is not.
        """
        leaf = _leaf(id, self.key)
        if leaf not in self.leaves:
            raise CounError(f"id '{id}' is not in this request")
        index = self.leaves.index(leaf)
        return Proof(index, len(self.leaves), tuple(_path(self.leaves, index)))

    def __contains__(self, id: str) -> bool:
        return _leaf(id, self.key) in self.leaves

    def __repr__(self) -> str:
        return f"Commitment({len(self.leaves)} ids, root={self.root[:12]}...)"


def new_key() -> bytes:
    """Return a new random key for `commit`, 32 bytes.

    >>> len(new_key())
    32
    """
    return secrets.token_bytes(KEY_BYTES)


def key_id(key: bytes) -> str:
    """Return a name of a commitment key that does not reveal it, in hexadecimal.

    >>> key_id(bytes(32))
    '1a1432902c5ed4f580405cdc6cc7ef70'
    """
    return hashlib.sha256(b"coun commitment key" + key).hexdigest()[:32]


def commit(ids: Iterable[str], key: bytes) -> Commitment:
    """Commit to *ids* under *key*.

    Each leaf is the HMAC-SHA-256 of an id. The leaves are sorted, so that the tree says nothing
    about the order of the ids. The tree has the shape of RFC 6962: hashes of leaves and of nodes
    start with different bytes, and a leaf without a partner moves up unchanged instead of being
    paired with itself. No two different sets of ids therefore have the same root.

    Args:
        ids: the ids, each once.
        key: 32 random bytes, from `new_key`.

    Raises: CounError for no ids, a repeated id, or a key of another length.

    Source: RFC 6962, section 2.1. Difference: a leaf is the HMAC of an entry, not the entry.

    >>> commitment = commit(["cat/7.png", "dog/3.png"], bytes(32))
    >>> proof = commitment.proof("dog/3.png")
    >>> verify_proof(commitment.root, "dog/3.png", bytes(32), proof)
    True
    """
    if len(key) != KEY_BYTES:
        raise CounError(f"the commitment key has {len(key)} bytes; expected {KEY_BYTES}")
    names = list(ids)
    leaves = sorted({_leaf(name, key) for name in names})
    if not leaves:
        raise CounError("there is no id to commit to; expected at least one")
    if len(leaves) < len(names):
        raise CounError("an id is given twice; expected each id once")
    return Commitment(tuple(leaves), key)


def verify_proof(root: str, id: str, key: bytes, proof: Proof) -> bool:
    """Tell whether *proof* shows that *id* is under *root*.

    Args:
        root: of the certificate, in hexadecimal.
        key: the key of the request.

    >>> commitment = commit(["a", "b", "c"], bytes(32))
    >>> verify_proof(commitment.root, "d", bytes(32), commitment.proof("c"))
    False
    """
    if not 0 <= proof.index < proof.size:
        return False
    last, index = proof.size - 1, proof.index
    result = _hash(LEAF, _leaf(id, key))
    for neighbour in proof.path:
        if last == 0:
            return False
        if index % 2 or index == last:
            result = _hash(NODE, neighbour, result)
            while index % 2 == 0 and index:
                index, last = index // 2, last // 2
        else:
            result = _hash(NODE, result, neighbour)
        index, last = index // 2, last // 2
    return last == 0 and hmac.compare_digest(result.hex(), root)


def _leaf(id: str, key: bytes) -> bytes:
    """The value of an id. File names that are not valid UTF-8 keep their bytes."""
    return hmac.digest(key, id.encode("utf-8", "surrogateescape"), "sha256")


def _hash(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def _middle(size: int) -> int:
    """The largest power of two below *size*, where RFC 6962 divides the leaves."""
    return 1 << (size - 1).bit_length() - 1


def _root(leaves: Sequence[bytes]) -> bytes:
    if len(leaves) == 1:
        return _hash(LEAF, leaves[0])
    middle = _middle(len(leaves))
    return _hash(NODE, _root(leaves[:middle]), _root(leaves[middle:]))


def _path(leaves: Sequence[bytes], index: int) -> list[bytes]:
    if len(leaves) == 1:
        return []
    middle = _middle(len(leaves))
    if index < middle:
        return [*_path(leaves[:middle], index), _root(leaves[middle:])]
    return [*_path(leaves[middle:], index - middle), _root(leaves[:middle])]
