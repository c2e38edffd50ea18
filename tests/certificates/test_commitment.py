"""The Merkle tree against a naive recursion, and proofs against every other leaf."""

import hashlib
import hmac

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coun.certificates import Proof, commit, new_key, verify_proof
from coun.errors import CounError

KEY = bytes(range(32))


def naive_root(values):
    """RFC 6962, section 2.1, written down as it is stated there."""
    if len(values) == 1:
        return hashlib.sha256(b"\x00" + values[0]).digest()
    k = 1
    while k * 2 < len(values):
        k *= 2
    return hashlib.sha256(b"\x01" + naive_root(values[:k]) + naive_root(values[k:])).digest()


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 33])
def test_root_and_proofs(count):
    ids = [f"photos/{i}.png" for i in range(count)]
    commitment = commit(ids, KEY)
    values = sorted(hmac.new(KEY, name.encode(), hashlib.sha256).digest() for name in ids)
    assert commitment.root == naive_root(values).hex()
    for name in ids:
        proof = commitment.proof(name)
        assert verify_proof(commitment.root, name, KEY, proof)
        assert not verify_proof(commitment.root, "another", KEY, proof)
        assert not verify_proof(commitment.root, name, new_key(), proof)
        for index in range(-1, count + 1):
            if index != proof.index:
                moved = Proof(index, proof.size, proof.path)
                assert not verify_proof(commitment.root, name, KEY, moved)
        for path in (proof.path[:-1], (*proof.path, bytes(32))):
            if path != proof.path:
                assert not verify_proof(commitment.root, name, KEY, Proof(proof.index, count, path))


@given(st.sets(st.text(min_size=1), min_size=1, max_size=20), st.randoms())
@settings(max_examples=50, deadline=None)
def test_order_does_not_matter(ids, random):
    shuffled = list(ids)
    random.shuffle(shuffled)
    assert commit(ids, KEY).root == commit(shuffled, KEY).root
    assert all(name in commit(ids, KEY) for name in ids)


def test_a_repeated_last_leaf_is_another_tree():
    """The weakness of trees that pair an odd leaf with itself (CVE-2012-2459)."""
    three = commit(["a", "b", "c"], KEY)
    values = three.leaves
    assert naive_root(values) != naive_root([*values, values[-1]])


def test_a_node_is_not_a_leaf():
    two = commit(["a", "b"], KEY)
    inner = b"".join(hashlib.sha256(b"\x00" + leaf).digest() for leaf in two.leaves)
    assert hashlib.sha256(b"\x00" + inner).hexdigest() != two.root


@pytest.mark.parametrize(
    ("ids", "key", "message"),
    [
        ([], KEY, "at least one"),
        (["a", "a"], KEY, "given twice"),
        (["a"], b"short", "expected 32"),
    ],
)
def test_bad_input(ids, key, message):
    with pytest.raises(CounError, match=message):
        commit(ids, key)


def test_another_id_has_no_proof():
    commitment = commit(["a"], KEY)
    assert "b" not in commitment
    with pytest.raises(CounError, match="not in this request"):
        commitment.proof("b")


def test_the_key_is_not_shown():
    assert KEY.hex() not in repr(commit(["a"], KEY))
