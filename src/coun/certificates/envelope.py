"""The DSSE envelope of a certificate: signed bytes, their type, and signatures.

A certificate that was changed in any bit must be recognised. The envelope is therefore read
strictly: a repeated or unknown key, or base64 that is not written in the one canonical way, is
an error, although none of them would change the signed bytes.
"""

from __future__ import annotations

import base64
import binascii
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic.alias_generators import to_camel

from coun.certificates.statement import Sha256
from coun.errors import CounError, TamperingFound
from coun.files import read_small, write_text

if TYPE_CHECKING:
    from securesystemslib.dsse import Envelope as DsseEnvelope
    from securesystemslib.signer import Signature as DsseSignature

PAYLOAD_TYPE = "application/vnd.in-toto+json"
LARGEST = 1 << 24  # bytes of a certificate
SIGNATURE_BYTES = 64
_KEYS = (b'"payload"', b'"payloadType"', b'"signatures"', b'"keyid"', b'"sig"', b'"publicKey"')


class DamagedEnvelope(TamperingFound):
    """The file was a certificate, and was changed."""


class _Strict(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True
    )


class Signature(_Strict):
    """One signature.

    Args:
        keyid: of the signing key.
        sig: the signature in base64.
        public_key: the signing key in hexadecimal, so that the certificate can be checked alone.
            The signature does not cover it; it does not say who holds the key.
    """

    keyid: Sha256
    sig: str
    public_key: Sha256 | None = None

    @field_validator("sig")
    @classmethod
    def _canonical(cls, text: str) -> str:
        if len(_decode(text)) != SIGNATURE_BYTES:
            raise ValueError(f"the signature is not {SIGNATURE_BYTES} bytes long")
        return text

    def to_dsse(self) -> DsseSignature:
        """The signature as `securesystemslib` has it."""
        from securesystemslib.signer import Signature as DsseSignature

        return DsseSignature(self.keyid, _decode(self.sig).hex())


class Envelope(_Strict):
    """Signed bytes in base64, their type, and signatures."""

    payload: str
    payload_type: str = PAYLOAD_TYPE
    signatures: tuple[Signature, ...] = Field(min_length=1)

    @field_validator("payload")
    @classmethod
    def _canonical(cls, text: str) -> str:
        _decode(text)
        return text

    @field_validator("signatures")
    @classmethod
    def _different(cls, signatures: tuple[Signature, ...]) -> tuple[Signature, ...]:
        if len({signature.keyid for signature in signatures}) < len(signatures):
            raise ValueError("two signatures are of the same key")
        return signatures

    @property
    def content(self) -> bytes:
        """The signed bytes."""
        return _decode(self.payload)

    def to_dsse(self) -> DsseEnvelope:
        """The envelope, without its signatures, as `securesystemslib` has it."""
        return unsigned(self.content, self.payload_type)

    def save(self, path: Path) -> None:
        """Write the envelope to *path*, completely or not at all."""
        write_text(path, self.model_dump_json(by_alias=True, exclude_none=True, indent=1) + "\n")


def unsigned(content: bytes, payload_type: str = PAYLOAD_TYPE) -> DsseEnvelope:
    """Return the envelope of *content* as `securesystemslib` has it, without signatures."""
    from securesystemslib.dsse import Envelope as DsseEnvelope

    return DsseEnvelope(content, payload_type, {})


def read_envelope(path: Path) -> Envelope:
    """Read the envelope at *path*.

    Raises: DamagedEnvelope if the file is an envelope that was changed; CounError if it is no
        envelope, or cannot be read.
    """
    content = read_small(path, LARGEST, "a certificate")
    # A certificate in which one key is misspelt still has the other keys.
    recognised = sum(key in content for key in _KEYS) >= 2
    try:
        return Envelope.model_validate(parse_json(content))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        reason = f"{'.'.join(map(str, first['loc'])) or 'the envelope'}: {first['msg']}"
    except ValueError as error:
        reason = str(error)
    if recognised:
        raise DamagedEnvelope(f"{path} was changed after it was signed: {printable(reason)}")
    raise CounError(f"{path} is not a certificate ({printable(reason)})")


def parse_json(content: bytes) -> Any:
    """Parse JSON in UTF-8. Raises: ValueError for what is no JSON, or repeats a key."""
    try:
        return json.loads(
            content.decode("utf-8"), object_pairs_hook=_unrepeated, parse_constant=_refuse
        )
    except UnicodeDecodeError:
        raise ValueError("it is not text in UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON: {error.msg} at character {error.pos}") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def printable(text: str) -> str:
    """Return *text* without characters that a terminal would act on or cannot show."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:300]


def _unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("a key is given twice")
    return content


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not a number")


def _decode(text: str) -> bytes:
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("it is not base64") from None
    if base64.b64encode(content).decode() != text:
        raise ValueError("it is not base64 in its canonical form")
    return content
