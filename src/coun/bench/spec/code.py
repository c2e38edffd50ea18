"""The code of plug-ins and of the user as a part of the hash of an experiment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from coun.metrics.registry import with_named
from coun.models import MODELS
from coun.models.zoo import GROUP, code_name
from coun.plugins import load_plugin, registered
from coun.trust import import_code, source_digest


def code_of(*values: Any) -> dict[str, list[str]]:
    """Return the digests of the sources of *values*, as a part of what a hash holds.

    Classes and functions of coun itself count by its version, which every hash holds, so the
    result is empty for them and their hashes stay as they are.

    >>> code_of(code_of)
    {}
    """
    external = [value for value in values if not _is_built_in(value)]
    return {"code": [source_digest(value) for value in external]} if external else {}


def code_of_model(name: str) -> dict[str, list[str]]:
    """Return the same for the factory of the model *name*, whose import the user asked for."""
    if code := code_name(name):
        return code_of(import_code(code, "model", trust=True))
    if name not in MODELS and name in registered(GROUP):
        return code_of(load_plugin(registered(GROUP)[name]))
    return {}


def code_of_metrics(names: Sequence[str]) -> dict[str, list[str]]:
    """Return the same for the functions of metrics."""
    metrics = with_named(names)
    return code_of(*(metrics[name].function for name in names))


def _is_built_in(value: Any) -> bool:
    return str(getattr(value, "__module__", "")).partition(".")[0] == "coun"
