"""What the entries of the ledger add up to: versions, requests, and what is served."""

from __future__ import annotations

import datetime
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from types import NoneType
from typing import Any

from coun.errors import TamperingFound
from coun.ledger import Entry
from coun.registry.layout import CERTIFICATES


@dataclass
class Version:
    """A version of the model, as its entry describes it.

    Attributes:
        files: the present digests of its files.
        nameless: the requests whose rows have no names in its records.
        discarded: whether its folder was deleted.
    """

    number: int
    created: str
    body: dict[str, Any]
    files: dict[str, str]
    nameless: set[int]
    discarded: bool = False

    @property
    def parent(self) -> int | None:
        """The version that was served before it."""
        parent: int | None = self.body["parent"]
        return parent


@dataclass
class Request:
    """A deletion request, and what became of it.

    Attributes:
        body: its entry in the ledger.
        versions: its fulfilments, by the number of the version.
        closed: when it was fulfilled or withdrawn; None while it is open.
        failed: whether an attempt ended with gates that failed.
        shredded: whether its key was destroyed.
    """

    number: int
    body: dict[str, Any]
    versions: dict[int, dict[str, Any]] = field(default_factory=dict)
    closed: str | None = None
    withdrawn: bool = False
    failed: bool = False
    shredded: bool = False


@dataclass
class RunningFulfilment:
    """A fulfilment that began: its requests, the version it starts from, and its attempts."""

    number: int
    body: dict[str, Any]
    attempts: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class State:
    """The sum of all entries.

    Attributes:
        created: the content of the first entry.
        served, served_since: the version that is served, and since when.
        running: the fulfilment that has not ended; None if there is none.
        fulfilments: how many have begun.
        pending_files: by version, digests that its files had before names were removed. Until
            that has ended, both digests are right.
    """

    created: dict[str, Any] = field(default_factory=dict)
    versions: dict[int, Version] = field(default_factory=dict)
    requests: dict[int, Request] = field(default_factory=dict)
    served: int = 0
    served_since: str = ""
    running: RunningFulfilment | None = None
    fulfilments: int = 0
    pending_files: dict[int, dict[str, str]] = field(default_factory=dict)

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> State:
        """Add up *entries*. Raises: TamperingFound for an entry that no coun wrote."""
        state = cls()
        for entry in entries:
            try:
                _check_shape(entry)
                _APPLY[entry.kind](state, entry)
            except (KeyError, TypeError, ValueError):
                raise TamperingFound(
                    f"entry {entry.sequence} ({entry.kind}) of the ledger is not as coun wrote "
                    "it; restore registry.sqlite from a copy"
                ) from None
        if state.served not in state.kept_ancestry(state.served):
            raise TamperingFound(
                "the ledger has no version that is served; restore registry.sqlite from a copy"
            )
        return state

    def ancestry(self, version: int) -> list[int]:
        """*version* and the versions that were served before it, youngest first."""
        chain, following = [], version
        while following in self.versions and following not in chain:
            chain.append(following)
            following = self.versions[following].parent or 0
        return chain

    def kept_ancestry(self, version: int) -> list[int]:
        """List the `ancestry` of *version* without versions that were discarded."""
        return [number for number in self.ancestry(version) if not self.versions[number].discarded]

    @property
    def start(self) -> int | None:
        """The version that methods start from: the last Retrain that is kept, or the first version.

        None if these were discarded. From any other version, the training of requests would add up.
        """
        chain = [self.versions[number] for number in self.kept_ancestry(self.served)]
        return next((v.number for v in chain if v.body["exact"] or v.parent is None), None)

    def fulfilment_of(self, request: Request) -> tuple[int, dict[str, Any]] | None:
        """The version that fulfilled *request*, of those that the served one descends from."""
        chain = self.ancestry(self.served)
        fulfilled = [version for version in request.versions if version in chain]
        return (fulfilled[-1], request.versions[fulfilled[-1]]) if fulfilled else None

    def is_open(self, request: Request) -> bool:
        """Whether *request* waits to be fulfilled; also again, after a rollback to before it."""
        return not request.withdrawn and self.fulfilment_of(request) is None


def _created(state: State, entry: Entry) -> None:
    state.created = entry.body


def _version(state: State, entry: Entry) -> None:
    number = int(entry.body["version"])
    files, nameless = dict(entry.body["files"]), set(entry.body["nameless"])
    state.versions[number] = Version(number, entry.time, entry.body, files, nameless)


def _served(state: State, entry: Entry) -> None:
    state.served, state.served_since = int(entry.body["version"]), entry.time


def _request(state: State, entry: Entry) -> None:
    number = int(entry.body["request"])
    for day in (entry.body["received"], entry.body["due"]):
        datetime.date.fromisoformat(day)
    state.requests[number] = Request(number, entry.body)


def _withdrawn(state: State, entry: Entry) -> None:
    request = state.requests[entry.body["request"]]
    request.withdrawn, request.closed = True, entry.time


def _shredded(state: State, entry: Entry) -> None:
    state.requests[entry.body["request"]].shredded = True


def _started(state: State, entry: Entry) -> None:
    state.fulfilments = int(entry.body["fulfilment"])
    state.running = RunningFulfilment(state.fulfilments, entry.body)


def _attempt(state: State, entry: Entry) -> None:
    if state.running is None or not entry.body["method"].isidentifier():
        raise ValueError("no fulfilment has begun")
    state.running.attempts.append(entry.body)


def _ended(state: State, entry: Entry) -> None:
    if state.running is not None and entry.body["result"] == "FAILED":
        for number in state.running.body["requests"]:
            state.requests[number].failed = True
    state.running = None


def _fulfilled(state: State, entry: Entry) -> None:
    parts = PurePosixPath(entry.body["path"]).parts
    if parts[0] != CERTIFICATES or ".." in parts:
        raise ValueError("the certificate is outside the registry")
    request = state.requests[entry.body["request"]]
    request.versions[int(entry.body["version"])] = entry.body
    request.closed, request.failed = entry.time, False


def _discarded(state: State, entry: Entry) -> None:
    state.versions[entry.body["version"]].discarded = True


def _files(state: State, entry: Entry) -> None:
    version = state.versions[entry.body["version"]]
    state.pending_files[version.number] = dict(version.files)
    version.files.update(entry.body["files"])
    version.nameless.update(entry.body["nameless"])


def _files_done(state: State, entry: Entry) -> None:
    state.pending_files.pop(entry.body["version"], None)


_NUMBER, _TEXT = (int, float, NoneType), (str, NoneType)
SHAPES: dict[str, dict[str, Any]] = {  # keys that an entry must have, and their types
    "created": {"registry": str, "source": str, "key": _TEXT, "public_key": str},
    "version": {
        **{"version": int, "parent": (int, NoneType), "method": str, "settings": dict, "seed": int},
        **{"reason": str, "files": dict, "requests": list, "nameless": list},
        **{"forgotten_rows": int, "flops": _NUMBER, "retrain_flops": _NUMBER, "seconds": _NUMBER},
        **{"metrics": dict, "drift": _NUMBER, "exact": bool},
    },
    "served": {"version": int},
    "request": {
        **{"request": int, "kind": str, "rows": int, "reason": str, "received": str, "due": str},
        **{"matched_by": list, "root": str, "key_id": str, "rows_sha256": str},
    },
    "withdrawn": {"request": int},
    "shredded": {"request": int},
    "started": {"fulfilment": int, "requests": list, "parent": int},
    "attempt": {"fulfilment": int, "attempt": int, "method": str, "passed": bool, "why": str},
    "ended": {"fulfilment": int, "result": str},
    "fulfilled": {"request": int, "version": int, "result": str, "path": str, "statement": str},
    "discarded": {"version": int},
    "files": {"version": int, "files": dict, "nameless": list},
    "files done": {"version": int},
}


def _check_shape(entry: Entry) -> None:
    """Raises: KeyError or TypeError for an entry that lacks a key, or has another type there."""
    for key, kind in SHAPES[entry.kind].items():
        if not isinstance(entry.body[key], kind):
            raise TypeError(key)


_APPLY = {
    "created": _created,
    "version": _version,
    "served": _served,
    "request": _request,
    "withdrawn": _withdrawn,
    "shredded": _shredded,
    "started": _started,
    "attempt": _attempt,
    "ended": _ended,
    "fulfilled": _fulfilled,
    "discarded": _discarded,
    "files": _files,
    "files done": _files_done,
}
