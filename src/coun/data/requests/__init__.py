"""Typed forget requests, one module for each kind; `Split.of` applies them to data.

A request says in words that fit any data which rows must be forgotten: a random share, a
class, a list. Modules in this folder and entry points of `coun.requests` are found without
being listed anywhere. A kind in a file of the user is named `./file.py:Class`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from inspect import isabstract
from typing import Any, TypeGuard

from pydantic import ValidationError

from coun.data.requests.base import ModelPredictions, Request
from coun.data.requests.client import Client
from coun.data.requests.listed import Listed
from coun.data.requests.memorised import Memorised
from coun.data.requests.not_installed import NotInstalled
from coun.data.requests.random import Random
from coun.data.requests.sequential import Sequential
from coun.data.requests.subclass import Subclass
from coun.data.requests.whole_class import Class
from coun.data.requests.worst_case import WorstCase
from coun.errors import CounError, unknown
from coun.plugins import load_plugins
from coun.trust import Trust, import_code, is_code

__all__ = [
    "Class",
    "Client",
    "Listed",
    "Memorised",
    "ModelPredictions",
    "Random",
    "Request",
    "Sequential",
    "Subclass",
    "WorstCase",
    "find",
    "kinds",
    "parse",
    "parse_recorded",
]

EARLIER_NAMES = {"index": "listed", "memorisation": "memorised", "worst": "worst_case"}


@cache
def _catalogue() -> tuple[dict[str, type[Request]], dict[str, str]]:
    """Kinds of request by name, and one line about each plug-in that was left out."""
    classes: dict[str, type[Request]] = {}
    for module in pkgutil.iter_modules(__path__):
        for value in vars(importlib.import_module(f"{__name__}.{module.name}")).values():
            if _is_kind(value) and value is not NotInstalled:
                classes[value.model_fields["kind"].default] = value
    plugins, refused = load_plugins("coun.requests", classes)
    return classes | plugins, refused


def _is_kind(value: Any) -> TypeGuard[type[Request]]:
    return isinstance(value, type) and issubclass(value, Request) and not isabstract(value)


def kinds() -> dict[str, type[Request]]:
    """All kinds of request by name: those of this package, then those of plug-ins.

    >>> "random" in kinds() and "class" in kinds()
    True
    """
    return _catalogue()[0]


def find(kind: str, *, trust: Trust) -> type[Request]:
    """Return the class of a kind of request.

    Args:
        kind: a name in `kinds()`, or `package.module:Class` or `./file.py:Class`.
        trust: whether such a class may be imported: True for a name that the user gave.

    Raises: CounError for an unknown kind, and for a class that is not trusted or is not a request.

    >>> find("random", trust=False).__name__
    'Random'
    """
    kind = EARLIER_NAMES.get(kind, kind)
    if kind in kinds():
        return kinds()[kind]
    refused = _catalogue()[1]
    if kind in refused:
        raise CounError(refused[kind])
    if not is_code(kind):
        raise unknown("kind of forget request", kind, kinds())
    value = import_code(kind, "kind of forget request", trust=trust)
    if not _is_kind(value):
        raise CounError(
            f"kind of forget request '{kind}' is of type {type(value).__name__}; expected a "
            "subclass of coun.data.requests.Request that has `choose` and `describe`"
        )
    return value


def parse(record: Mapping[str, Any], *, trust: Trust = False) -> Request:
    """Make a request from its record, as the command line or a bench config has it.

    Args:
        record: "kind", and the settings of that kind.
        trust: as for `find`.

    Raises: CounError for an unknown kind or a setting that does not fit.

    >>> parse({"kind": "random", "fraction": 0.2}).fraction
    0.2
    """
    code = str(record.get("kind", ""))
    kind_class = find(code, trust=trust)
    kind = kind_class.model_fields["kind"].default
    try:
        request = kind_class.model_validate({**record, "kind": kind})
    except ValidationError as error:
        # A wrong name comes first: it says more than the setting that is missing because of it.
        problem = min(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden")
        place = ".".join(map(str, problem["loc"])) or "request"
        settings = set(kind_class.model_fields) - {"kind"}
        if problem["type"] == "missing":
            names = ", ".join(sorted(settings))
            raise CounError(
                f"a {kind} request needs the setting '{place}'; known: {names}"
            ) from None
        if problem["type"] == "extra_forbidden":
            raise unknown(f"setting of a {kind} request", place, settings) from None
        expected = problem["msg"].removeprefix("Value error, ").replace("Input should be ", "")
        if problem["type"] == "value_error":
            raise CounError(f"{kind} request: {place}: {expected}") from None
        raise CounError(
            f"{kind} request: {place} is {problem['input']!r}; expected {expected}"
        ) from None
    return request if kind in kinds() else request.imported_from(code)


def parse_recorded(record: Mapping[str, Any]) -> Request:
    """Read a request from the record of a run, whose rows are on record as well.

    No code is imported: of a kind that is not installed, only the description is made.

    >>> parse_recorded({"kind": "./brightest.py:Brightest", "fraction": 0.1}).describe()
    './brightest.py:Brightest (fraction 0.1)'
    """
    kind = record.get("kind")
    if not isinstance(kind, str) or EARLIER_NAMES.get(kind, kind) in kinds():
        return parse(record)
    return NotInstalled.model_validate(record)
