"""Writing certificates: sign a statement, and add a signature to a certificate."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from coun.certificates.envelope import Envelope, Signature, read_envelope, unsigned
from coun.certificates.keys import as_list, load_key
from coun.certificates.page import write_page
from coun.certificates.statement import Statement
from coun.errors import CounError, TamperingFound

if TYPE_CHECKING:
    from securesystemslib.signer import CryptoSigner

    SigningKey = CryptoSigner | str | Path

CERTIFICATE, PAGE = "certificate.intoto.json", "certificate.html"


def issue(
    statement: Statement, keys: SigningKey | Sequence[SigningKey], folder: str | Path
) -> Path:
    """Sign *statement*, and write `certificate.intoto.json` and the page `certificate.html`.

    Args:
        statement: what the certificate says.
        keys: one or several signing keys, from `create_key` or `load_key`, or paths of private
            key files.
        folder: where the two files are written; it is created if necessary.

    Returns: the path of the certificate.

    Raises: CounError if the folder holds a certificate, a key cannot be read or no key is given.

    >>> import tempfile
    >>> from coun.certificates import create_key
    >>> from coun.certificates.example import example_statement
    >>> folder = Path(tempfile.mkdtemp())
    >>> engineer, officer = create_key(folder / "engineer.pem"), create_key(folder / "officer.pem")
    >>> path = issue(example_statement(), engineer, folder / "certificate")
    >>> digest = statement_digest(path)
    >>> countersign(path, officer)
    >>> statement_digest(path) == digest  # a second signature leaves the statement as it is
    True
    """
    path = Path(folder) / CERTIFICATE
    if path.exists():
        raise CounError(f"{path} exists; a certificate is never overwritten")
    signers = [_signer(key) for key in as_list(keys)]
    if not signers:
        raise CounError("no key is given; expected at least one to sign the certificate")
    content = statement.to_bytes()
    signatures = tuple(_sign(content, signer) for signer in signers)
    envelope = Envelope(payload=base64.b64encode(content).decode(), signatures=signatures)
    envelope.save(path)
    write_page(statement, [signature.keyid for signature in signatures], path.with_name(PAGE))
    return path


def countersign(path: str | Path, key: SigningKey) -> None:
    """Add a signature to the certificate at *path*, and write its page again.

    The statement and its digest stay as they are.

    Raises: TamperingFound if the certificate was changed; CounError if *key* has signed it before.

    >>> import tempfile
    >>> from coun.certificates import create_key
    >>> from coun.certificates.example import example_statement
    >>> folder = Path(tempfile.mkdtemp())
    >>> key = create_key(folder / "one.pem")
    >>> path = issue(example_statement(), key, folder / "certificate")
    >>> countersign(path, create_key(folder / "two.pem"))
    >>> len(read_envelope(path).signatures)
    2
    """
    from coun.certificates.verification import verify

    path = Path(path)
    verification = verify(path)
    if verification.tampered:
        raise TamperingFound(f"{path} is not signed again: {verification.failures[0].message}")
    envelope, signer = read_envelope(path), _signer(key)
    signature = _sign(envelope.content, signer)
    if signature.keyid in {present.keyid for present in envelope.signatures}:
        raise CounError(f"key {signature.keyid[:12]} has signed {path} before")
    signatures = (*envelope.signatures, signature)
    envelope.model_copy(update={"signatures": signatures}).save(path)
    if verification.statement is not None and path.name == CERTIFICATE:
        keyids = [present.keyid for present in signatures]
        write_page(verification.statement, keyids, path.with_name(PAGE))


def statement_digest(path: str | Path) -> str:
    """Return the SHA-256 of the signed bytes of the certificate at *path*, in hexadecimal.

    It names the certificate in the next one and in the ledger. A second signature does not
    change it.

    >>> import tempfile
    >>> from coun.certificates import create_key
    >>> from coun.certificates.example import example_statement
    >>> folder = Path(tempfile.mkdtemp())
    >>> key = create_key(folder / "one.pem")
    >>> path = issue(example_statement(), key, folder / "certificate")
    >>> len(statement_digest(path))
    64
    """
    return hashlib.sha256(read_envelope(Path(path)).content).hexdigest()


def _signer(key: SigningKey) -> CryptoSigner:
    return load_key(key) if isinstance(key, str | Path) else key


def _sign(content: bytes, signer: CryptoSigner) -> Signature:
    signature = unsigned(content).sign(signer)
    return Signature(
        keyid=signature.keyid,
        sig=base64.b64encode(bytes.fromhex(signature.signature)).decode(),
        public_key=signer.public_key.keyval["public"],
    )
