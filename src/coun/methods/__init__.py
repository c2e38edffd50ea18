"""The unlearning methods, one per file.

Every module of this folder is found automatically, and so is every package that registers an
entry point in the group `coun.methods`: adding a method needs no edit anywhere else.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from coun.errors import CounError, unknown
from coun.plans.card import Card, default_share
from coun.plans.contrastive_module import contrast
from coun.plans.method import Method, Training, from_settings
from coun.plugins import load_plugins
from coun.trust import Trust, import_extension, is_code

_IN_PAPERS = re.compile(r"\(([^()]+)\)\.$")


def catalogue() -> dict[str, type[Method]]:
    """Return every method that can be used, by name and sorted; plug-ins are included.

    >>> catalogue()["coun"].summary()
    'Fine-tune with a contrastive loss between two views of the retain rows (CoUn).'
    """
    return _all_methods()[0]


def broken_plugins() -> dict[str, str]:
    """Return the plug-ins that cannot be used, by name, each with one line that says why.

    >>> broken_plugins()
    {}
    """
    return _all_methods()[1]


@cache
def _all_methods() -> tuple[dict[str, type[Method]], dict[str, str]]:
    methods: dict[str, type[Method]] = {}
    for module in pkgutil.iter_modules(__path__):
        for value in vars(importlib.import_module(f"{__name__}.{module.name}")).values():
            if isinstance(value, type) and issubclass(value, Method) and "name" in vars(value):
                methods[value.name] = value
    plugins, broken = load_plugins("coun.methods", built_in=methods)
    for name, value in plugins.items():
        if isinstance(value, type) and issubclass(value, Method):
            methods[name] = value
        else:
            broken[name] = f"plug-in '{name}' is {value!r}; expected a subclass of coun.Method"
    return dict(sorted(methods.items())), broken


def federated() -> dict[str, type[Method]]:
    """Return the methods that exist in a federation only, by name.

    They are of a higher package, which is imported when it is needed.

    >>> sorted(federated())
    ['fed_eraser', 'pgd']
    """
    methods: dict[str, type[Method]] = importlib.import_module("coun.federated").catalogue()
    return methods


def find(name: str, *, trust: Trust = False) -> type[Method]:
    """Return the method called *name*.

    Args:
        name: a name in `catalogue()`, or `package.module:Class` or `./file.py:Class` for a method
            that is not installed.
        trust: whether such a class may be imported: True for a name that the user gave.

    Raises: CounError for an unknown method, a broken plug-in, a class that is not trusted, is
        no method, or has the name of another method.

    >>> find("coun").exact
    False
    """
    if name in catalogue():
        return catalogue()[name]
    if name in federated():
        return federated()[name]
    if reason := broken_plugins().get(name):
        raise CounError(reason)
    if not is_code(name):
        raise unknown_method(name)
    kind: type[Method] = import_extension(
        name,
        "method",
        "a subclass of coun.Method with a name",
        fits=lambda kind: (
            isinstance(kind, type) and issubclass(kind, Method) and "name" in vars(kind)
        ),
        catalogue=catalogue(),
        trust=trust,
    )
    return kind


def unknown_method(name: str) -> CounError:
    """Return the error for a name that no method has; names that papers use are understood.

    >>> str(unknown_method("NG+"))[:52]
    "unknown method 'NG+' (did you mean 'neggrad_plus'?);"
    """
    methods = {**catalogue(), **federated()}
    # The summary of a method ends in what papers call it: "(NegGrad, GA)."
    ends = {key: _IN_PAPERS.search(kind.summary()) for key, kind in methods.items()}
    also = {text: key for key, end in ends.items() if end for text in end[1].split(", ")}
    return unknown("method", name, methods, also)


def make(name: str, settings: Mapping[str, Any] | None = None, *, trust: Trust = False) -> Method:
    """Make the method called *name*.

    Args:
        name, trust: as for `find`.
        settings: its settings; values may be text, as from `--set key=value`. Several values
            are separated by commas.

    Raises: CounError for a method that cannot be used, an unknown setting, or a value out of
        range.

    >>> make("coun", {"lr": "0.02"}).lr
    0.02
    """
    kind = find(name, trust=trust)
    return from_settings(kind, kind.name, settings or {})


def without_contrast(name: str) -> str:
    """Return the name of the method that *name* is without the contrastive module.

    This is *name* itself, also if it is unknown, unless the method has the module built in.

    >>> without_contrast("coun"), without_contrast("not")
    ('finetune', 'not')
    """
    kind = catalogue().get(name)
    return (kind and kind.contrast_of) or name


def describe(kind: type[Method]) -> dict[str, Any]:
    """Describe a method: its source, its card, what it needs, and its settings as a JSON schema.

    >>> describe(catalogue()["finetune"])["reads"]
    ['retain']
    """
    schema = TypeAdapter(kind).json_schema()
    return {
        "summary": kind.summary(),
        "source": kind.source,
        "exact": kind.exact,
        "reads": [
            *sorted(role.replace("_", "-") for role in kind.reads),
            *["original training"] * kind.needs_original,
            *["predictions"] * kind.needs_out_of_fold,
            *["kept epochs"] * kind.needs_kept_epochs,
            *["shards"] * kind.prepares,
        ],
        "needs": kind.needs(),
        "trains": kind.trains,
        "accepts_contrast": kind.accepts_contrast(),
        "card": Card.of(kind).parts,
        "share_of_retrain": default_share(kind.name),
        "settings": schema["properties"],
    }


__all__ = [
    "Method",
    "Training",
    "broken_plugins",
    "catalogue",
    "contrast",
    "describe",
    "federated",
    "find",
    "make",
    "unknown_method",
    "without_contrast",
]
