"""What a registry holds, as plain values for tables, JSON and the page."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

LEFT_OUT = "that a request named or a method read"  # of test rows
RequestState = Literal["open", "fulfilled", "withdrawn"]


class _Summary(BaseModel):
    """A frozen part of a summary; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class VersionSummary(_Summary):
    """One version of the model.

    Attributes:
        version: its number; 1 is the model that the registry began with.
        parent: the version that was served before; None for version 1.
        start: the version whose weights the method started from; None for version 1 and for
            Retrains.
        folder: its run folder, relative to the registry.
        weights_sha256: the SHA-256 of the file `model.safetensors`.
        method: the name of the method; "given" for weights that coun did not train.
        settings, seed: of the method.
        reason: why this method was chosen, in one sentence.
        created: when the version was entered, as ISO 8601 in UTC.
        requests: numbers of the requests that the version fulfils first.
        forgotten_rows: rows that must be forgotten by this version, of all requests.
        flops, retrain_flops, seconds: the cost of the version and what a Retrain would cost;
            None where it is unknown.
        metrics: percent by name: "retain_accuracy", "unlearn_accuracy", "test_accuracy".
        test_rows_left_out: how many test rows its test accuracy and drift leave out, because a
            request named them or a method read them; None where unknown.
        drift: how far the version is from the last Retrain or, where there is none, version 1,
            in percent of the test rows that it classifies otherwise; 0 for these two, None where
            unknown.
        exact: whether it was trained without the forgotten rows (Retrain or an exact method).
        served: whether it is the version that is served now.
        discarded: whether its folder was deleted for good.

    >>> import coun, tempfile
    >>> original = coun.train(coun.load("digits", limit=50), "mlp", epochs=1)
    >>> registry = coun.Registry.init(f"{tempfile.mkdtemp()}/registry", original)
    >>> version = registry.summary().versions[0]
    >>> version.version, version.served, version.method
    (1, True, 'retrain')
    """

    version: int
    parent: int | None
    start: int | None = None
    folder: str
    weights_sha256: str
    method: str
    settings: dict[str, object] = Field(default_factory=dict)
    seed: int = 0
    reason: str = ""
    created: str
    requests: tuple[int, ...] = ()
    forgotten_rows: int = 0
    flops: float | None = None
    retrain_flops: float | None = None
    seconds: float | None = None
    metrics: dict[str, float] = Field(default_factory=dict)
    test_rows_left_out: int | None = None
    drift: float | None = None
    exact: bool = False
    served: bool = False
    discarded: bool = False


class RequestSummary(_Summary):
    """One deletion request.

    Attributes:
        request: its number, counted from 1.
        state: "open", "fulfilled" or "withdrawn".
        kind: how the rows were named: "listed" (by id or content), "class", or "mixed".
        rows, test_rows: the numbers of training rows, which are forgotten, and of test rows,
            which no model saw and measurements leave out.
        reason: free text of the person who entered it; may hold anything.
        received, due: ISO dates.
        closed: when it was fulfilled or withdrawn, ISO 8601 in UTC; None while it is open.
        overdue: whether it is open after its due date.
        days_left: days until the due date, negative if it has passed; None when closed.
        version: the version that fulfilled it.
        result: "FULFILLED", "FULFILLED_BY_RETRAINING", or "FAILED" after an attempt whose
            gates failed; None before the first attempt.
        certificate: path of the certificate, relative to the registry.
        shredded: whether the key of the request was destroyed.

    >>> import coun, tempfile
    >>> original = coun.train(coun.load("digits", limit=50), "mlp", epochs=1)
    >>> registry = coun.Registry.init(f"{tempfile.mkdtemp()}/registry", original)
    >>> request = registry.add(ids=original.data.ids[:2])
    >>> request.request, request.state, request.rows
    (1, 'open', 2)
    """

    request: int
    state: RequestState
    kind: str
    rows: int
    test_rows: int = 0
    reason: str = ""
    received: str
    due: str
    closed: str | None = None
    overdue: bool = False
    days_left: int | None = None
    version: int | None = None
    result: str | None = None
    certificate: str | None = None
    shredded: bool = False


class CertificateSummary(_Summary):
    """One certificate.

    Attributes:
        request, version: the numbers of what it is about.
        path: of its file, relative to the registry.
        sha256: the digest of the signed bytes.
        created: ISO 8601 in UTC.

    >>> import coun, tempfile
    >>> original = coun.train(coun.load("digits", limit=50), "mlp", epochs=1)
    >>> registry = coun.Registry.init(f"{tempfile.mkdtemp()}/registry", original)
    >>> registry.summary().certificates  # `registry.fulfil()` issues one for each request
    ()
    """

    request: int
    version: int
    path: str
    sha256: str
    created: str


class LedgerState(_Summary):
    """The ledger: how long it is, where it ends, and what is wrong with it.

    Attributes:
        entries: their number.
        head: the SHA-256 of the last entry, which binds all before it.
        clock_went_back: entries whose time is before that of the entry in front of them. The
            order of events is that of the ledger, never that of the clock.
        problems: one sentence for each fault that was found; empty if the chain is whole.

    >>> import coun, tempfile
    >>> original = coun.train(coun.load("digits", limit=50), "mlp", epochs=1)
    >>> registry = coun.Registry.init(f"{tempfile.mkdtemp()}/registry", original)
    >>> ledger = registry.summary().ledger
    >>> ledger.entries, ledger.problems
    (3, ())
    """

    entries: int
    head: str
    clock_went_back: int = 0
    problems: tuple[str, ...] = ()


class RegistrySummary(_Summary):
    """What a registry holds now; `Registry.summary` makes it.

    Attributes:
        folder: the registry.
        registry: its identifier, which certificates repeat.
        source: where the data was when the registry was made.
        served: the number of the version that is served.
        served_since: when it was switched to, ISO 8601 in UTC.
        versions, requests, certificates: oldest first.
        open, overdue: numbers of requests that are not closed, and of those past their due
            date.
        today: the date by which due dates were judged.
        unfinished: requests of a fulfilment that another process does now, or that was
            interrupted; repeat it to go on.

    >>> import coun, tempfile
    >>> original = coun.train(coun.load("digits", limit=50), "mlp", epochs=1)
    >>> registry = coun.Registry.init(f"{tempfile.mkdtemp()}/registry", original)
    >>> summary = registry.summary()
    >>> summary.served, len(summary.versions), summary.open
    (1, 1, ())
    """

    folder: str
    registry: str
    source: str | None
    served: int
    served_since: str
    versions: tuple[VersionSummary, ...]
    requests: tuple[RequestSummary, ...]
    certificates: tuple[CertificateSummary, ...] = ()
    open: tuple[int, ...] = ()
    overdue: tuple[int, ...] = ()
    today: str
    unfinished: tuple[int, ...] = ()
    ledger: LedgerState

    def about_test_rows(self) -> str:
        """Say in a sentence which versions are measured without some test rows, if any are."""
        texts = [
            f"{version.test_rows_left_out:,} for version {version.version}"
            for version in self.versions
            if version.test_rows_left_out
        ]
        if not texts:
            return ""
        return f"Test accuracy and drift leave out test rows {LEFT_OUT}: {', '.join(texts)}."
