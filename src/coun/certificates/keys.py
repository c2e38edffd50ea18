"""Keys that sign certificates: Ed25519, in PEM files."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coun.errors import CounError
from coun.files import cannot_write, read_small

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from securesystemslib.signer import CryptoSigner, SSlibKey

PRIVATE, PUBLIC = 0o600, 0o644
LARGEST = 1 << 16  # bytes of a key file


def create_key(path: str | Path) -> CryptoSigner:
    """Make a new key, and write it to *path* and its public part to *path* with `.pub` added.

    Only the owner may read the private key (file mode 600). Give the public key to everybody who
    verifies certificates.

    Raises: CounError if one of the files exists or cannot be written.

    >>> folder = Path(tempfile.mkdtemp())
    >>> signer = create_key(folder / "signing.pem")
    >>> sorted(file.name for file in folder.iterdir())
    ['signing.pem', 'signing.pem.pub']
    """
    from cryptography.hazmat.primitives import serialization
    from securesystemslib.signer import CryptoSigner

    private_path, public_path = Path(path), public_path_of(path)
    for file in (private_path, public_path):
        if os.path.lexists(file):
            raise CounError(f"{file} exists; a key is never overwritten, choose another name")
    signer = CryptoSigner.generate_ed25519()
    public = _crypto_key(signer.public_key).public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    _write_new(private_path, signer.private_bytes, PRIVATE)
    _write_new(public_path, public, PUBLIC)
    return signer


def public_path_of(path: str | Path) -> Path:
    """Where the public part of the key at *path* is."""
    return Path(f"{path}.pub")


def load_key(path: str | Path) -> CryptoSigner:
    """Load the private key at *path*.

    Raises: CounError if it is not an Ed25519 private key, or if others may read it.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "signing.pem")
    >>> created = create_key(path)
    >>> load_key(path).public_key.keyid == created.public_key.keyid
    True
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from securesystemslib.signer import CryptoSigner

    content = read_small(Path(path), LARGEST, "a key")
    mode = stat.S_IMODE(os.stat(path).st_mode)
    if os.name == "posix" and mode & 0o077:
        raise CounError(
            f"{path} is a private key that others may read (mode {mode:o}); expected mode 600, "
            f"run chmod 600 {path}"
        )
    with contextlib.suppress(Exception):
        key = load_pem_private_key(content, None)
        if isinstance(key, Ed25519PrivateKey):
            return CryptoSigner(key)
    raise CounError(f"{path} is not an Ed25519 private key in PEM without a password")


def load_public_key(path: str | Path) -> SSlibKey:
    """Load the public key at *path*.

    Raises: CounError if it is not an Ed25519 public key.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "signing.pem")
    >>> keyid = create_key(path).public_key.keyid
    >>> load_public_key(f"{path}.pub").keyid == keyid
    True
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from securesystemslib.signer import SSlibKey

    content = read_small(Path(path), LARGEST, "a key")
    if b"PRIVATE KEY" in content:
        raise CounError(f"{path} is a private key; expected the public one, {path}.pub")
    with contextlib.suppress(Exception):
        key = load_pem_public_key(content)
        if isinstance(key, Ed25519PublicKey):
            return SSlibKey.from_crypto(key)
    raise CounError(f"{path} is not an Ed25519 public key in PEM")


def key_from_hex(text: str) -> SSlibKey:
    """Make the public key of 64 hexadecimal digits, as certificates carry it."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from securesystemslib.signer import SSlibKey

    return SSlibKey.from_crypto(Ed25519PublicKey.from_public_bytes(bytes.fromhex(text)))


def as_list(keys: Any) -> Sequence[Any]:
    """Return *keys*, where one key or several may be given, as a sequence."""
    return keys if isinstance(keys, list | tuple) else [keys]


def _crypto_key(key: SSlibKey) -> Ed25519PublicKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    return Ed25519PublicKey.from_public_bytes(bytes.fromhex(key.keyval["public"]))


def _write_new(path: Path, content: bytes, mode: int) -> None:
    """Write a file that does not exist yet, completely or not at all."""
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        temporary = Path(name)
        with os.fdopen(handle, "wb") as file:
            os.chmod(temporary, mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
    except FileExistsError:
        raise CounError(f"{path} exists; a key is never overwritten, choose another name") from None
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
