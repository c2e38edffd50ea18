"""Sum up a registry for tables, JSON and the page."""

from __future__ import annotations

import datetime
import itertools
from pathlib import Path

from coun.files import RUN_WEIGHTS
from coun.ledger import Ledger
from coun.registry.layout import VERSIONS
from coun.registry.state import Request, State, Version
from coun.registry.summary import (
    CertificateSummary,
    LedgerState,
    RegistrySummary,
    RequestSummary,
    VersionSummary,
)

ACCURACIES = ("retain_accuracy", "unlearn_accuracy", "test_accuracy")


def summarise(
    ledger: Ledger, folder: Path, today: datetime.date, *, check: bool
) -> RegistrySummary:
    """What the *ledger* of the registry in *folder* says; no other file is read."""
    entries = ledger.entries()
    state = State.of(entries)
    times = [entry.time for entry in entries]
    requests = tuple(_request(state, request, today) for request in state.requests.values())
    return RegistrySummary(
        folder=str(folder),
        registry=state.created["registry"],
        source=state.created["source"],
        served=state.served,
        served_since=state.served_since,
        versions=tuple(_version(state, version) for version in state.versions.values()),
        requests=requests,
        certificates=tuple(
            CertificateSummary(
                request=entry.body["request"],
                version=entry.body["version"],
                path=entry.body["path"],
                sha256=entry.body["statement"],
                created=entry.time,
            )
            for entry in entries
            if entry.kind == "fulfilled"
        ),
        open=tuple(r.request for r in requests if r.state == "open"),
        overdue=tuple(r.request for r in requests if r.overdue),
        today=today.isoformat(),
        unfinished=() if state.running is None else tuple(state.running.body["requests"]),
        ledger=LedgerState(
            entries=len(entries),
            head=entries[-1].sha256,
            clock_went_back=sum(b < a for a, b in itertools.pairwise(times)),
            problems=tuple(ledger.problems()) if check else (),
        ),
    )


def _version(state: State, version: Version) -> VersionSummary:
    body = version.body
    return VersionSummary(
        version=version.number,
        parent=version.parent,
        start=body.get("start"),
        folder=f"{VERSIONS}/{version.number}",
        weights_sha256=version.files[RUN_WEIGHTS],
        method=body["method"],
        settings=body["settings"],
        seed=body["seed"],
        reason=body["reason"],
        created=version.created,
        requests=tuple(body["requests"]),
        forgotten_rows=body["forgotten_rows"],
        flops=body["flops"],
        retrain_flops=body["retrain_flops"],
        seconds=body["seconds"],
        metrics={name: body["metrics"][name] for name in ACCURACIES if name in body["metrics"]},
        test_rows_left_out=body.get("test_rows_left_out"),
        drift=body["drift"],
        exact=body["exact"],
        served=version.number == state.served,
        discarded=version.discarded,
    )


def _request(state: State, request: Request, today: datetime.date) -> RequestSummary:
    body, fulfilment = request.body, state.fulfilment_of(request)
    is_open = state.is_open(request)
    due = datetime.date.fromisoformat(body["due"])
    version, details = fulfilment or (None, {})
    return RequestSummary(
        request=request.number,
        state="open" if is_open else "withdrawn" if request.withdrawn else "fulfilled",
        kind=body["kind"],
        rows=body["rows"],
        test_rows=body.get("test_rows", 0),
        reason=body["reason"],
        received=body["received"],
        due=body["due"],
        closed=None if is_open else request.closed,
        overdue=is_open and today > due,
        days_left=(due - today).days if is_open else None,
        version=version,
        result=details.get("result") or ("FAILED" if request.failed else None),
        certificate=details.get("path"),
        shredded=request.shredded,
    )
