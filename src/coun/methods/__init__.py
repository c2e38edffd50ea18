"""One file a method. Every module of this folder, and every package that registers an entry
point in the group `coun.methods`, is found by itself: adding a method edits nothing else."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from pydantic import TypeAdapter, ValidationError

from coun.errors import CounError, nearest, unknown
from coun.plans.contrastive_module import contrast
from coun.plans.method import Method, Training


@cache
def catalogue() -> dict[str, type[Method]]:
    """Every method by name, sorted."""
    found: dict[str, type[Method]] = {}
    for module in pkgutil.iter_modules(__path__):
        for value in vars(importlib.import_module(f"{__name__}.{module.name}")).values():
            if isinstance(value, type) and issubclass(value, Method) and "name" in vars(value):
                found[value.name] = value
    for point in entry_points(group="coun.methods"):
        found[point.name] = point.load()
    return dict(sorted(found.items()))


def make(name: str, settings: Mapping[str, Any] | None = None) -> Method:
    """The method *name* with *settings*, whose values may be text (`--set key=value`).

    Raises: CounError for an unknown method or setting, or a value out of range.
    """
    kind = catalogue().get(name)
    if kind is None:
        raise unknown("method", name, catalogue())
    known = [field.name for field in fields(kind)]
    given = dict(settings or {})
    for key in given:
        if key not in known:
            raise CounError(
                f"unknown setting '{key}' of {name}{nearest(key, known)}; "
                f"known: {', '.join(sorted(known))}"
            )
    try:
        return kind(**given)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        expected = first["msg"].replace("Input should be ", "").replace("Input", "a value that")
        raise CounError(
            f"setting {key} of {name} is {first['input']!r}; expected {expected}"
        ) from error


def describe(kind: type[Method]) -> dict[str, Any]:
    """What is known of a method: source, data it reads, and its settings as a JSON schema."""
    schema = TypeAdapter(kind).json_schema()
    return {
        "summary": kind.summary(),
        "source": kind.source,
        "exact": kind.exact,
        "reads": sorted(kind.reads) + ["original training"] * kind.needs_original,
        "trains": kind.trains,
        "settings": schema["properties"],
    }


__all__ = ["Method", "Training", "catalogue", "contrast", "describe", "make"]
