"""Key files: their modes, and what is refused."""

import os
import stat

import pytest

from coun.certificates import create_key, load_key, load_public_key
from coun.errors import CounError


def test_a_key_is_private_and_loads_again(tmp_path):
    signer = create_key(tmp_path / "keys" / "a.pem")
    private, public = tmp_path / "keys" / "a.pem", tmp_path / "keys" / "a.pem.pub"
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert load_key(private).public_key.keyid == signer.public_key.keyid
    assert load_public_key(public).keyid == signer.public_key.keyid
    assert sorted(os.listdir(tmp_path / "keys")) == ["a.pem", "a.pem.pub"]


@pytest.mark.parametrize("present", ["a.pem", "a.pem.pub"])
def test_a_key_is_never_overwritten(tmp_path, present):
    (tmp_path / present).write_bytes(b"precious")
    with pytest.raises(CounError, match="never overwritten"):
        create_key(tmp_path / "a.pem")
    assert (tmp_path / present).read_bytes() == b"precious"
    assert os.listdir(tmp_path) == [present]


def test_a_key_that_others_may_read_is_refused(tmp_path):
    create_key(tmp_path / "a.pem")
    (tmp_path / "a.pem").chmod(0o644)
    with pytest.raises(CounError, match="chmod 600"):
        load_key(tmp_path / "a.pem")


@pytest.mark.parametrize("content", [b"", b"\x00\xff", b"-----BEGIN PUBLIC KEY-----\nAA==\n"])
def test_what_is_no_key_is_refused(tmp_path, content):
    path = tmp_path / "a.pem"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(CounError, match="not an Ed25519 private key"):
        load_key(path)
    with pytest.raises(CounError, match="not an Ed25519 public key"):
        load_public_key(path)


def test_private_and_public_are_not_confused(tmp_path):
    create_key(tmp_path / "a.pem")
    with pytest.raises(CounError, match="is a private key"):
        load_public_key(tmp_path / "a.pem")
    with pytest.raises(CounError, match="does not exist|is not a file"):
        load_key(tmp_path)


def test_a_key_of_another_kind_is_refused(tmp_path):
    from securesystemslib.signer import CryptoSigner

    path = tmp_path / "rsa.pem"
    path.write_bytes(CryptoSigner.generate_ecdsa().private_bytes)
    path.chmod(0o600)
    with pytest.raises(CounError, match="not an Ed25519 private key"):
        load_key(path)
