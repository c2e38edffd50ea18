"""Versions that are not served: serve one again, or delete it for good."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from coun.errors import CounError, TamperingFound, listed
from coun.registry.checking import find_problems
from coun.registry.planning import LOST
from coun.registry.state import State

if TYPE_CHECKING:
    from coun.registry.registry import Registry


def roll_back(registry: Registry, version: int | None) -> int:
    """Serve an earlier version again; see `Registry.rollback`."""
    with registry.exclusive():
        state = registry.state()
        target = state.versions[state.served].parent if version is None else version
        if target is None or target not in state.versions:
            present = ", ".join(map(str, state.versions))
            name = "before the first version" if target is None else f"{target}"
            raise CounError(f"there is no version {name}; expected one of {present}")
        if target == state.served:
            raise CounError(f"version {target} is served already")
        if state.versions[target].discarded:
            raise CounError(f"version {target} was discarded; its weights are gone")
        _refuse_lost_requests(state, target)
        problems = find_problems(registry, versions=[target])
        if problems:
            raise TamperingFound(problems[0])
        with registry.ledger.transaction():
            registry.append("served", {"version": target, "because": "rollback"})
    state = registry.state()
    open_again = [r.number for r in state.requests.values() if r.versions and state.is_open(r)]
    if open_again:
        registry.say(f"open again: {listed('request', open_again)}")
    return target


def _refuse_lost_requests(state: State, target: int) -> None:
    """Refuse to serve a version without a request that has no key to be fulfilled by."""

    def lost(version: int) -> list[int]:
        then = replace(state, served=version)
        return [r.number for r in state.requests.values() if r.shredded and then.is_open(r)]

    if lost(target) and not lost(state.served):
        others = [
            str(number)
            for number, version in state.versions.items()
            if number != state.served and not version.discarded and not lost(number)
        ]
        raise CounError(
            f"version {target} does not fulfil {listed('request', lost(target))}, whose key "
            "was destroyed, so that it could not be fulfilled again; expected "
            + (f"one of the versions {', '.join(others)}" if others else "no rollback")
        )


def discard(registry: Registry, version: int) -> None:
    """Delete the folder of a version; see `Registry.discard`."""
    with registry.exclusive():
        state = registry.state()
        if version not in state.versions or state.versions[version].discarded:
            present = [str(n) for n, v in state.versions.items() if not v.discarded]
            raise CounError(f"there is no version {version}; there are {', '.join(present)}")
        if version == state.served:
            raise CounError(f"version {version} is served; it cannot be discarded")
        with registry.ledger.transaction():
            registry.append("discarded", {"version": version})
        registry.recover()
        if registry.state().start is None:
            registry.say(f"{LOST}; the next request is fulfilled by a Retrain")
