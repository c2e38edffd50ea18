"""Typed forget requests, one module for each kind; `Split.of` applies them to data.

A request says in words that fit any data which rows must be forgotten: a random share, a
class, a list. Modules in this folder and entry points of `coun.requests` are found without
being listed anywhere.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from inspect import isabstract
from typing import Any

from pydantic import ValidationError

from coun.data.requests.base import ModelPredictions, Request
from coun.data.requests.client import Client
from coun.data.requests.listed import Listed
from coun.data.requests.memorised import Memorised
from coun.data.requests.random import Random
from coun.data.requests.sequential import Sequential
from coun.data.requests.subclass import Subclass
from coun.data.requests.whole_class import Class
from coun.data.requests.worst_case import WorstCase
from coun.errors import CounError, unknown
from coun.plugins import load_plugins

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
    "kinds",
    "parse",
]

EARLIER_NAMES = {"index": "listed", "memorisation": "memorised", "worst": "worst_case"}


@cache
def _catalogue() -> tuple[dict[str, type[Request]], dict[str, str]]:
    """Kinds of request by name, and one line about each plug-in that was left out."""
    classes: dict[str, type[Request]] = {}
    for module in pkgutil.iter_modules(__path__):
        for value in vars(importlib.import_module(f"{__name__}.{module.name}")).values():
            if isinstance(value, type) and issubclass(value, Request) and not isabstract(value):
                classes[value.model_fields["kind"].default] = value
    plugins, refused = load_plugins("coun.requests", classes)
    return classes | plugins, refused


def kinds() -> dict[str, type[Request]]:
    """All kinds of request by name: those of this package, then those of plug-ins.

    >>> "random" in kinds() and "class" in kinds()
    True
    """
    return _catalogue()[0]


def parse(record: Mapping[str, Any]) -> Request:
    """Make a request from its record, as a run folder or a bench config has it.

    Args: record: "kind", and the settings of that kind.

    Raises: CounError for an unknown kind or a setting that does not fit.

    >>> parse({"kind": "random", "fraction": 0.2}).fraction
    0.2
    """
    kind = str(record.get("kind", ""))
    kind = EARLIER_NAMES.get(kind, kind)
    if kind not in kinds():
        refused = _catalogue()[1]
        if kind in refused:
            raise CounError(refused[kind])
        raise unknown("kind of forget request", kind, kinds())
    try:
        return kinds()[kind].model_validate({**record, "kind": kind})
    except ValidationError as error:
        # A wrong name comes first: it says more than the setting that is missing because of it.
        problem = min(error.errors(), key=lambda fault: fault["type"] != "extra_forbidden")
        place = ".".join(map(str, problem["loc"])) or "request"
        settings = set(kinds()[kind].model_fields) - {"kind"}
        if problem["type"] == "missing":
            known = ", ".join(sorted(settings))
            raise CounError(
                f"a {kind} request needs the setting '{place}'; known: {known}"
            ) from None
        if problem["type"] == "extra_forbidden":
            raise unknown(f"setting of a {kind} request", place, settings) from None
        expected = problem["msg"].removeprefix("Value error, ").replace("Input should be ", "")
        if problem["type"] == "value_error":
            raise CounError(f"{kind} request: {place}: {expected}") from None
        raise CounError(
            f"{kind} request: {place} is {problem['input']!r}; expected {expected}"
        ) from None
