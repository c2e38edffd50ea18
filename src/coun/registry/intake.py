"""Requests: how they are entered, withdrawn, and unlinked from their rows."""

from __future__ import annotations

import datetime
import re
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from coun.certificates import new_key
from coun.data import Data
from coun.errors import CounError, counted, listed
from coun.registry import rows as request_rows
from coun.registry.layout import REVIEW

if TYPE_CHECKING:
    from coun.registry.registry import Registry

DAYS_TO_ANSWER = 30  # GDPR, Art. 12(3): within one month of receipt

Days = tuple[datetime.date, datetime.date]


def add(
    registry: Registry, names: dict[str, Any], reason: str, days: Days, data: Data | str | None
) -> int:
    """Enter a request for the rows that *names* say (`find_rows`); return its number."""
    first, last = days
    registry.refuse_tampering()
    loaded, earlier = registry.data(data)
    if names.get("ids"):
        names = names | {"ids": _without_forgotten(registry, loaded, names["ids"])}
    loaded = _without_due(registry, loaded, names.get("ids", ()), names.get("numbers", ()))
    rows = request_rows.find_rows(loaded, earlier, **names)
    key = new_key()
    commitment = request_rows.commitment_of(rows, key)
    with registry.ledger.transaction() as connection:
        state = registry.state()
        number = max(state.requests, default=0) + 1
        shared = [
            other.number
            for other in state.requests.values()
            if state.is_open(other)
            and set(request_rows.numbers_of(connection, other.number)["train"]) & set(rows.train)
        ]
        request_rows.write_key(registry.folder, number, key)
        request_rows.store(connection, number, rows, key)
        registry.append(
            "request",
            {
                "request": number,
                "kind": rows.kind,
                "rows": len(rows.train),
                "test_rows": len(rows.test),
                "reason": reason,
                "received": first.isoformat(),
                "due": last.isoformat(),
                "matched_by": list(rows.matched_by),
                "root": commitment.root,
                "key_id": commitment.key_id,
                "rows_sha256": request_rows.rows_digest(connection, number),
            },
        )
    for note in rows.notes:
        registry.say(note)
    if shared:
        registry.say(f"rows of this request are also in the open {listed('request', shared)}")
    return number


def _without_forgotten(registry: Registry, data: Data, ids: Sequence[str]) -> list[str]:
    """*ids* without those of deleted rows that an earlier request forgot, and a note of them.

    Lists of names are often sent again whole, and a deleted row is known by its keyed hash only.

    Raises: CounError if no id is left.
    """
    present = {*data.train.ids, *data.test.ids}
    fulfilled = [
        r.number for r in registry.state().requests.values() if r.versions and not r.shredded
    ]
    absent = [name for name in ids if name not in present]
    forgotten = request_rows.forgotten_ids(
        registry.ledger.connection, registry.folder, fulfilled, absent
    )
    if forgotten:
        what = f"{counted(len(forgotten), 'id')} named rows that earlier requests forgot"
        if len(forgotten) == len(set(ids)):
            raise CounError(f"all {what}, and their data are deleted; there is nothing to forget")
        registry.say(f"{what}, and their data are deleted; left out")
    return [name for name in ids if name not in forgotten]


def _without_due(
    registry: Registry, data: Data, ids: Sequence[str], numbers: Sequence[int]
) -> Data:
    """*data* in which deleted rows of open requests may be missing, except those named now.

    They are forgotten when these requests are fulfilled, so that nobody has to name them again.
    """
    absent = data.absent
    if absent is None:
        return data
    state, connection = registry.state(), registry.ledger.connection
    open_numbers = [
        number
        for request in state.requests.values()
        if state.is_open(request)
        for number in request_rows.numbers_of(connection, request.number)["train"]
    ]
    due = torch.isin(absent.numbers, torch.tensor(open_numbers, dtype=torch.int64))
    again = set(ids)
    due &= torch.tensor([name not in again for name in absent.ids], dtype=torch.bool)
    due &= ~torch.isin(absent.numbers, torch.tensor(list(numbers), dtype=torch.int64))
    named = due if absent.named is None else absent.named | due
    return replace(data, absent=replace(absent, named=named))


def near_copies(
    registry: Registry, number: int, least: float, data: Data | str | None
) -> Path | None:
    """Write a page of rows that look like those of a request; see `Registry.near_copies`."""
    from coun.data.near_copies import near_copies as find
    from coun.engine import predict
    from coun.report.contact_sheet import write_near_copies

    run = registry.open_version(registry.state().served, data)
    numbers = request_rows.numbers_of(registry.ledger.connection, number)
    classifier = run.classifier
    similar = find(
        run.data,
        lambda examples: predict(classifier, run.data, examples, anywhere=True).features,
        train=torch.tensor(numbers["train"], dtype=torch.int64),
        test=torch.tensor(numbers["test"], dtype=torch.int64),
        leave_out=None if run.split is None else run.split.forget,
        least=least,
    )
    if not similar:
        return None
    folder = review_folder(registry, number)
    page = folder / "near-copies.html"
    write_near_copies(run.data, similar, page, folder / "near-copies.txt")
    return page


def review_folder(registry: Registry, number: int) -> Path:
    """Where names and pictures for a person are kept until a request is closed."""
    return registry.folder / REVIEW / str(number)


def withdraw(registry: Registry, number: int) -> None:
    """Close an open request; see `Registry.withdraw`."""
    with registry.ledger.transaction() as connection:
        state = registry.state()
        request = state.requests.get(number)
        if request is None:
            raise registry.no_request(number)
        if not state.is_open(request):
            raise CounError(f"request {number} is not open; only open requests are withdrawn")
        if request.versions:
            raise CounError(
                f"request {number} is open again after a rollback, but it has a certificate and "
                "cannot be withdrawn; fulfil it again with coun fulfil"
            )
        if state.running is not None and number in state.running.body["requests"]:
            raise CounError(
                f"request {number} is being fulfilled; finish that with coun fulfil first"
            )
        registry.append("withdrawn", {"request": number})
        connection.execute("DELETE FROM request_rows WHERE request = ?", (number,))
    request_rows.destroy_key(registry.folder, number)
    shutil.rmtree(review_folder(registry, number), ignore_errors=True)


def open_requests(registry: Registry, requests: Sequence[int]) -> list[int]:
    """The numbers of the requests to fulfil, sorted: *requests*, or all open ones.

    Raises: CounError if one is not open or its key is missing, which certificates need.
    """
    state = registry.state()
    for number in requests:
        if number not in state.requests:
            raise registry.no_request(number)
        if not state.is_open(state.requests[number]):
            raise CounError(f"request {number} is not open; 'coun request list' says which are")
    every = [r.number for r in state.requests.values() if state.is_open(r)]
    chosen = sorted(set(requests) or every)
    if not chosen:
        raise CounError(
            "there is no open request; add one with coun request add, or open those of the "
            "served version again with coun registry rollback"
        )
    for number in chosen:
        request = state.requests[number]
        if request.shredded:
            raise CounError(
                f"the key of request {number} was destroyed when it was fulfilled, so it "
                "cannot be fulfilled again; serve the version that fulfils it: coun registry "
                f"rollback {shlex.quote(str(registry.folder))} {max(request.versions)}"
            )
        request_rows.read_key(registry.folder, number)
    return chosen


def shred(registry: Registry, number: int, data: Data | str | None) -> None:
    """Destroy the key of a request; see `Registry.shred`."""
    state = registry.state()
    request = state.requests.get(number)
    if request is None:
        raise registry.no_request(number)
    if state.fulfilment_of(request) is None:
        raise CounError(f"request {number} is not fulfilled; its key is still needed")
    registry.recover()
    if not request.shredded:
        loaded, _ = registry.data(data)
        numbers = request_rows.numbers_of(registry.ledger.connection, number)
        parts = {"train": loaded.train.numbers, "test": loaded.test.numbers}
        present = sum(len(set(numbers[part]) & set(rows.tolist())) for part, rows in parts.items())
        if present:
            raise CounError(
                f"{present:,} of the rows of request {number} are still in {loaded.source}; delete "
                "them there first, because without the key they cannot be told from new rows"
            )
        with registry.ledger.transaction():
            registry.append("shredded", {"request": number})
    request_rows.destroy_key(registry.folder, number)


def dates(received: str | None, due: str | None) -> Days:
    """The days on which a request arrived and is due.

    Raises: CounError for other text, for an arrival in the future, or if it is due before it came.
    """
    today = datetime.date.today()
    first = _date("received", received) if received else today
    # Somewhere on earth it is already the day after.
    if first > today + datetime.timedelta(days=1):
        raise CounError(
            f"the request was received on {first}, which is in the future; expected today "
            f"({today}) or a day before"
        )
    last = _date("due", due) if due else first + datetime.timedelta(days=DAYS_TO_ANSWER)
    if last < first:
        raise CounError(f"the request is due on {last}, before it was received on {first}")
    return first, last


def _date(name: str, text: str) -> datetime.date:
    try:
        if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
            return datetime.date.fromisoformat(text)
    except ValueError:
        pass
    raise CounError(f"--{name} is '{text[:40]}'; expected a date such as 2026-03-31")
