"""What a certificate says: an in-toto Statement with a predicate for unlearning.

The classes document the JSON. Keys are camelCase in the file and snake_case in Python. A reader
ignores keys that it does not know, as in-toto asks of every consumer.
"""

from __future__ import annotations

import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "https://pypi.org/project/coun/unlearning/v1"
DISCLAIMER: Final = "Evidence under the named tests; not a proof that no trace remains."

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Digest = dict[str, Annotated[str, Field(pattern=r"^[0-9a-f]+$")]]
Result = Literal["PASSED", "WARNED", "FAILED"]
Outcome = Literal["FULFILLED", "FULFILLED_BY_RETRAINING", "FAILED"]


class _Part(BaseModel):
    model_config = ConfigDict(
        frozen=True, alias_generator=to_camel, populate_by_name=True, allow_inf_nan=False
    )


class Subject(_Part):
    """A file that the certificate is about; it is recognised by its SHA-256, not by its name.

    Args:
        name: of the file.
        digest: by algorithm, in hexadecimal digits; "sha256" must be among them.

    >>> Subject(name="model.safetensors", digest={"sha256": "0" * 64}).name
    'model.safetensors'
    """

    name: str
    digest: Digest

    @model_validator(mode="after")
    def _has_sha256(self) -> Subject:
        if len(self.digest.get("sha256", "")) != 64:
            raise ValueError(
                f"subject '{self.name}' has no SHA-256; expected 64 hexadecimal digits"
            )
        return self


class Material(_Part):
    """What the work started from: models, data and software, by digest or by URI.

    Args:
        digest: by algorithm, as of a `Subject`; empty where only *uri* says what it was.
        uri: for software its package URL (purl).

    >>> Material(name="coun", uri="pkg:pypi/coun@0.3.0").digest
    {}
    """

    name: str
    digest: Digest = {}
    uri: str | None = None


class RowsCommitment(_Part):
    """What binds the certificate to ids without naming them; see `commit`.

    Args:
        alg: how the root is made.
        root: the root of the tree, 64 hexadecimal digits.
        key_id: a name of the key of the request that does not reveal it.

    >>> from coun.certificates import commit
    >>> made = commit(["cat/1.png", "cat/2.png"], bytes(32))
    >>> RowsCommitment(root=made.root, key_id=made.key_id).alg
    'hmac-sha256-merkle'
    """

    alg: Literal["hmac-sha256-merkle"] = "hmac-sha256-merkle"
    root: Sha256
    key_id: str


class RequestServed(_Part):
    """The deletion request: when it came, when it is due, and how many rows it names.

    Args:
        id: of the request in its registry.
        kind: how the rows were named: "listed" (by id or content), "class", or "mixed".
        received, due: dates; *due* is None where none was set.
        rows: how many training rows it names.
        reason: free text of whoever entered the request.
        rows_commitment: binds the certificate to these rows without naming them.
        matched_by: how these rows were recognised: "id", "number", "content",
            "class", "features".

    >>> day = datetime.date(2026, 11, 26)
    >>> RequestServed(id="1", received=day, kind="listed", rows=3, matched_by=("id",)).rows
    3
    """

    id: str
    received: datetime.date
    due: datetime.date | None = None
    kind: str
    rows: int = Field(ge=0)
    reason: str | None = None
    rows_commitment: RowsCommitment | None = None
    matched_by: tuple[str, ...] = ()


class MethodUsed(_Part):
    """The method, every setting, and whether it read the forget rows.

    Args:
        settings: by name, also those left at their defaults.
        seed: of all random draws.

    >>> MethodUsed(name="coun", settings={"epochs": 3}, reads_forget_data=False).seed
    0
    """

    name: str
    settings: dict[str, Any] = {}
    seed: int = 0
    reads_forget_data: bool


class Cost(_Part):
    """Floating-point operations of this run and of a Retrain, and the seconds of this run.

    >>> cost = Cost(flops=1e12, retrain_flops=4e12)
    >>> cost.flops / cost.retrain_flops
    0.25
    """

    flops: float = Field(ge=0)
    retrain_flops: float | None = Field(None, ge=0)
    seconds: float | None = Field(None, ge=0)


class Check(_Part):
    """One test of the model: its value, interval, power and result.

    Args:
        name: as the page shows it; its first words tell the unit of *value* (see `shown`).
        interval: the 90% interval of the value.
        detectable_rows: how many remembered rows the test would find in 4 of 5 cases; None
            where this is not known or the test is not about memory.
        result: as in in-toto's test-result predicate.

    >>> Check(name="test accuracy", value=91.5, interval=(90, 93), result="PASSED").shown
    '91.5%'
    """

    name: str
    value: float | None = None
    interval: tuple[float, float] | None = None
    detectable_rows: int | None = Field(None, ge=0)
    result: Result

    @property
    def shown(self) -> str:
        """The value; empty where there is none. An accuracy is in percent, and others are shares.

        An estimated share has no more than two decimals, because its interval is wide.
        """
        if self.value is None:
            return ""
        accuracy = self.name.startswith(("test accuracy", "retain accuracy"))
        return f"{self.value:.4g}%" if accuracy else f"{self.value:.2f}"

    @property
    def between(self) -> str:
        """The interval of the value; empty where there is none."""
        return "" if self.interval is None else "{:.2f} to {:.2f}".format(*self.interval)


class Coverage(_Part):
    """What the request was carried out on, and what it was not carried out on.

    Args: covered, not_covered: places where the rows or what was made of them may be.

    >>> "back-ups" in Coverage().not_covered
    True
    """

    covered: tuple[str, ...] = ("model",)
    not_covered: tuple[str, ...] = ("source files", "back-ups", "derived models", "logs")


class Previous(_Part):
    """The certificate before this one in the registry, by the SHA-256 of its signed bytes.

    >>> len(Previous(digest={"sha256": "0" * 64}).digest["sha256"])
    64
    """

    digest: Digest


class Predicate(_Part):
    """What was asked, what was done, what was shown, and what remains open.

    Args:
        materials: what the work started from.
        checks: the tests of the new model; *result* follows from them.
        previous: None for the first certificate of a registry.
        time_created: when the certificate was made.
        effective: since when the new model is served; without meaning where *result* is FAILED.
        statement: the same sentence in every certificate: what it does not claim.

    >>> from coun.certificates.example import example_statement
    >>> example_statement().predicate.statement
    'Evidence under the named tests; not a proof that no trace remains.'
    """

    request: RequestServed
    materials: tuple[Material, ...] = ()
    method: MethodUsed
    cost: Cost
    checks: tuple[Check, ...]
    result: Outcome
    coverage: Coverage = Coverage()
    previous: Previous | None = None
    time_created: AwareDatetime
    effective: AwareDatetime | None = None
    statement: Literal["Evidence under the named tests; not a proof that no trace remains."] = (
        DISCLAIMER
    )


class Statement(_Part):
    """An in-toto Statement, version 1, about the files in *subject*.

    Args: type, predicate_type: URIs by which readers tell what kind of statement this is.

    >>> from coun.certificates.example import example_statement
    >>> example_statement().to_json()["subject"][0]["name"]
    'model.safetensors'
    """

    type: Literal["https://in-toto.io/Statement/v1"] = Field(STATEMENT_TYPE, alias="_type")
    subject: tuple[Subject, ...] = Field(min_length=1)
    predicate_type: Literal["https://pypi.org/project/coun/unlearning/v1"] = PREDICATE_TYPE
    predicate: Predicate

    def to_bytes(self) -> bytes:
        """The statement as JSON in UTF-8: the bytes that are signed."""
        return self.model_dump_json(by_alias=True, exclude_none=True).encode()

    def to_json(self) -> dict[str, Any]:
        """The statement as JSON values, with the keys of the file."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)
