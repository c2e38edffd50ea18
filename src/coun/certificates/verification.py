"""Checking certificates: signature first, then the signed statement, digests, chain and policy."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from coun.certificates.envelope import (
    PAYLOAD_TYPE,
    DamagedEnvelope,
    Envelope,
    Signature,
    parse_json,
    printable,
    read_envelope,
)
from coun.certificates.issuing import CERTIFICATE
from coun.certificates.keys import as_list, key_from_hex, load_public_key
from coun.certificates.statement import PREDICATE_TYPE, Result, Statement
from coun.errors import CounError
from coun.files import REGISTRY_DATABASE, RUN_WEIGHTS, expanded, file_digest

if TYPE_CHECKING:
    from securesystemslib.signer import SSlibKey

    PublicKey = SSlibKey | str | Path


@dataclass(frozen=True)
class VerificationCheck:
    """One check of a certificate: its name, its result, and one sentence that says why.

    >>> VerificationCheck("signature", "PASSED", "the signature is valid").result
    'PASSED'
    """

    name: str
    result: Result
    message: str


@dataclass(frozen=True)
class Verification:
    """What `verify` found.

    Attributes:
        path: of the certificate.
        checks: in the order in which they were made; after a wrong signature nothing else is.
        statement: what the certificate says; None unless its signature is valid.
        keyids: of the keys that signed it; empty unless all signatures are valid.

    >>> import tempfile
    >>> from coun.certificates import create_key, issue, verify
    >>> from coun.certificates.example import example_statement
    >>> folder = Path(tempfile.mkdtemp())
    >>> key = create_key(folder / "signing.pem")
    >>> path = issue(example_statement(), key, folder / "certificate")
    >>> found = verify(path, keys=folder / "signing.pem.pub")
    >>> found.tampered, found.failures, len(found.keyids)
    (False, (), 1)
    """

    path: Path
    checks: tuple[VerificationCheck, ...]
    statement: Statement | None = None
    keyids: tuple[str, ...] = ()

    @property
    def failures(self) -> tuple[VerificationCheck, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if check.result == "FAILED")

    @property
    def tampered(self) -> bool:
        """Whether any check failed: the certificate or what it is about was changed."""
        return bool(self.failures)

    def to_json(self) -> dict[str, Any]:
        """Everything as JSON; the statement as it was signed."""
        statement = self.statement
        return {
            "certificate": str(self.path),
            "tampered": self.tampered,
            "checks": [vars(check) for check in self.checks],
            "statement": statement and statement.to_json(),
        }


def verify(
    path: str | Path,
    *,
    model: str | Path | None = None,
    registry: str | Path | None = None,
    keys: PublicKey | Sequence[PublicKey] | None = None,
) -> Verification:
    """Check the certificate at *path*; needs no network.

    The signature is checked first, and only signed bytes are parsed.

    Args:
        path: a certificate, or the folder that holds it.
        model: a model file or a run folder, which must be the one that the certificate is about;
            by default it is looked for in the versions of *registry*.
        registry: the folder of the registry that must have issued the certificate. Its
            `keys/*.pub` are then the expected signers, one of which must have signed.
        keys: public keys, or paths of them, that must all have signed.

    Raises: CounError if the file is not a certificate, or another file cannot be read.

    >>> import tempfile
    >>> from coun.certificates import create_key, issue
    >>> from coun.certificates.example import example_statement
    >>> folder = Path(tempfile.mkdtemp())
    >>> key = create_key(folder / "signing.pem")
    >>> path = issue(example_statement(), key, folder / "certificate")
    >>> verification = verify(path, keys=folder / "signing.pem.pub")
    >>> {check.name: check.result for check in verification.checks}["signature"]
    'PASSED'
    """
    path = expanded(path)
    path = path / CERTIFICATE if path.is_dir() else path
    named = [] if keys is None else [_public_key(key) for key in as_list(keys)]
    folder = None if registry is None else _registry_folder(registry)
    of_registry = [] if folder is None else _registry_keys(folder)
    weights = None if model is None else _weights(model)
    try:
        envelope = read_envelope(path)
    except DamagedEnvelope as error:
        return Verification(path, (VerificationCheck("envelope", "FAILED", str(error)),))
    checks = _signatures(envelope, [*named, *of_registry])
    if any(check.result == "FAILED" for check in checks):
        return Verification(path, tuple(checks))
    statement = _statement(path, envelope)
    checks += _signers(envelope, named, of_registry, folder)
    checks.append(_model(statement, weights, folder))
    checks += _files_beside(path, statement)
    checks += _chain(envelope, statement, folder)
    checks += _policy(statement)
    keyids = tuple(signature.keyid for signature in envelope.signatures)
    return Verification(path, tuple(checks), statement, keyids)


def _signatures(envelope: Envelope, trusted: Sequence[SSlibKey]) -> list[VerificationCheck]:
    """Check every signature under its key: a trusted one, or else the one in the certificate."""
    by_id = {key.keyid: key for key in trusted}
    checks = []
    for signature in envelope.signatures:
        carried = _carried_key(signature)
        key = by_id.get(signature.keyid, carried)
        short = signature.keyid[:12]
        if signature.public_key is not None and (
            carried is None or carried.keyid != signature.keyid
        ):
            result, message = "FAILED", f"the certificate carries another key than {short}"
        elif key is None:
            result, message = "FAILED", f"key {short} is not in the certificate; name it with --key"
        elif _is_valid(envelope, signature, key):
            result, message = "PASSED", f"valid under key {short}"
        else:
            result, message = (
                "FAILED",
                f"the signature is not valid under key {short}: the certificate was changed after "
                "it was signed, or another key signed it",
            )
        checks.append(VerificationCheck("signature", result, message))  # type: ignore[arg-type]
    return checks


def _carried_key(signature: Signature) -> SSlibKey | None:
    if signature.public_key is None:
        return None
    try:
        return key_from_hex(signature.public_key)
    except ValueError:
        return None


def _is_valid(envelope: Envelope, signature: Signature, key: SSlibKey) -> bool:
    from securesystemslib.exceptions import UnverifiedSignatureError

    try:
        key.verify_signature(signature.to_dsse(), envelope.to_dsse().pae())
    except UnverifiedSignatureError:
        return False
    return True


def _statement(path: Path, envelope: Envelope) -> Statement:
    """Parse the bytes whose signature was checked."""
    if envelope.payload_type != PAYLOAD_TYPE:
        kind = printable(envelope.payload_type)
        raise CounError(f"{path} holds signed content of type {kind}; expected {PAYLOAD_TYPE}")
    try:
        statement = Statement.model_validate(parse_json(envelope.content))
        # Python reads more than it can write: half of a surrogate pair, nesting without end.
        json.dumps(statement.to_json(), ensure_ascii=False).encode()
        return statement
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        reason = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    except (ValueError, RecursionError) as error:
        reason = str(error)
    raise CounError(
        f"{path} is signed, but not a certificate of type {PREDICATE_TYPE} ({printable(reason)})"
    )


def _signers(
    envelope: Envelope,
    named: Sequence[SSlibKey],
    of_registry: Sequence[SSlibKey],
    folder: Path | None,
) -> list[VerificationCheck]:
    """Compare who signed with who should have signed."""
    signed = {signature.keyid for signature in envelope.signatures}
    signers = ", ".join(keyid[:12] for keyid in signed)
    checks = []
    for key in named:
        if key.keyid in signed:
            check = VerificationCheck("signer", "PASSED", f"key {key.keyid[:12]}, which you named")
        else:
            message = f"signed by key {signers}; expected key {key.keyid[:12]}, which you named"
            check = VerificationCheck("signer", "FAILED", message)
        checks.append(check)
    if folder is not None:
        if signed & {key.keyid for key in of_registry}:
            check = VerificationCheck("signer", "PASSED", f"a key of the registry {folder}")
        else:
            message = f"signed by key {signers}, which is not a key of the registry {folder}"
            check = VerificationCheck("signer", "FAILED", message)
        checks.append(check)
    if not checks:
        message = (
            f"who holds key {signers} was not checked: the key is the one in the certificate; "
            "get the signer's public key from the signer, and name it with --key"
        )
        checks.append(VerificationCheck("signer", "WARNED", message))
    return checks


def _model(statement: Statement, weights: Path | None, folder: Path | None) -> VerificationCheck:
    """Compare the model, or look for it among the versions of the registry."""
    digests = {subject.name: subject.digest["sha256"] for subject in statement.subject}
    expected = digests.get(RUN_WEIGHTS, "none")
    if weights is not None:
        digest = file_digest(weights)
        if digest == expected:
            return VerificationCheck("model", "PASSED", f"{weights} is the certified model")
        message = f"{weights} is another model: SHA-256 {digest[:12]}, expected {expected[:12]}"
        message += "".join(f"; {place} certifies it" for place in _certifying(folder, digest))
        return VerificationCheck("model", "FAILED", message)
    if folder is None:
        message = "not compared; name the model file or the run folder with --model"
        return VerificationCheck("model", "WARNED", message)
    for file in sorted((folder / "versions").glob(f"*/{RUN_WEIGHTS}")):
        if file_digest(file) == expected:
            return VerificationCheck("model", "PASSED", f"{file.parent} holds the certified model")
    message = f"no version of {folder} holds the certified model, SHA-256 {expected[:12]}"
    return VerificationCheck("model", "FAILED", message)


def _files_beside(path: Path, statement: Statement) -> list[VerificationCheck]:
    """Compare other certified files, where they stand beside the certificate."""
    checks = []
    for subject in statement.subject:
        name, file = subject.name, path.parent / subject.name
        if name == RUN_WEIGHTS or Path(name).name != name or not os.path.isfile(file):
            continue
        same = file_digest(file) == subject.digest["sha256"]
        message = f"{printable(name)} is {'as certified' if same else 'not what was certified'}"
        checks.append(VerificationCheck("file", "PASSED" if same else "FAILED", message))
    return checks


def _chain(
    envelope: Envelope, statement: Statement, folder: Path | None
) -> list[VerificationCheck]:
    """Look for this certificate and the one before in the registry."""
    previous = statement.predicate.previous
    digest = previous.digest.get("sha256", "") if previous else None
    if folder is None:
        if digest is None:
            return [VerificationCheck("chain", "PASSED", "the first certificate of its registry")]
        message = f"the previous certificate, {digest[:12]}, was not looked for; name --registry"
        return [VerificationCheck("chain", "WARNED", message)]
    issued = {hashlib.sha256(other.content).hexdigest() for _, other in _issued(folder)}
    own_digest = hashlib.sha256(envelope.content).hexdigest()
    if own_digest in issued:
        check = VerificationCheck("registry", "PASSED", f"{folder} issued this certificate")
    else:
        check = VerificationCheck("registry", "FAILED", f"{folder} did not issue this certificate")
    checks = [check]
    if digest is None:
        checks.append(VerificationCheck("chain", "PASSED", "the first certificate of its registry"))
    elif digest in issued:
        checks.append(VerificationCheck("chain", "PASSED", f"previous certificate {digest[:12]}"))
    else:
        message = f"the previous certificate, {digest[:12]}, is not in {folder}"
        checks.append(VerificationCheck("chain", "FAILED", message))
    return checks


def _policy(statement: Statement) -> list[VerificationCheck]:
    """Check that the result is what the tests allow, and say what vouches for the time."""
    predicate = statement.predicate
    failed = [printable(check.name) for check in predicate.checks if check.result == "FAILED"]
    if predicate.result == "FAILED":
        check = VerificationCheck(
            "result", "WARNED", "the certificate says that the request FAILED"
        )
    elif failed:
        message = f"the certificate says {predicate.result}, but {failed[0]} FAILED"
        check = VerificationCheck("result", "FAILED", message)
    else:
        check = VerificationCheck("result", "PASSED", predicate.result)
    message = "unanchored: the dates are the signer's word, without an outside time stamp"
    return [check, VerificationCheck("time", "WARNED", message)]


def _issued(folder: Path) -> Iterable[tuple[Path, Envelope]]:
    """All certificates in a registry that can be read, with their files."""
    for file in sorted((folder / "certificates").rglob(CERTIFICATE)):
        with suppress(CounError):
            yield file, read_envelope(file)


def _certifying(folder: Path | None, digest: str) -> Iterable[Path]:
    """Folders of the certificates in a registry that certify the model of this digest."""
    for file, envelope in _issued(folder) if folder else ():
        with suppress(CounError):
            for subject in _statement(file, envelope).subject:
                if (subject.name, subject.digest["sha256"]) == (RUN_WEIGHTS, digest):
                    yield file.parent


def _registry_folder(registry: str | Path) -> Path:
    folder = expanded(registry)
    if not (folder / REGISTRY_DATABASE).is_file():
        raise CounError(f"{folder} is not a registry; expected a folder with {REGISTRY_DATABASE}")
    return folder


def _registry_keys(folder: Path) -> list[SSlibKey]:
    files = sorted((folder / "keys").glob("*.pub"))
    if not files:
        raise CounError(f"{folder / 'keys'} holds no public key; expected a file *.pub")
    return [load_public_key(file) for file in files]


def _weights(model: str | Path) -> Path:
    path = expanded(model)
    path = path / RUN_WEIGHTS if path.is_dir() else path
    if not path.is_file():
        raise CounError(f"{path} does not exist; expected a model file or a run folder")
    return path


def _public_key(key: PublicKey) -> SSlibKey:
    return load_public_key(key) if isinstance(key, str | Path) else key
