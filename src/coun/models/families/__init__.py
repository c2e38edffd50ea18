"""Families of models of other libraries, written `PREFIX:NAME` as in `timm:resnet18`.

Every module of this folder that declares a `FAMILY` is found without any other edit. The library
that a family needs is imported only when a model of it is used.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from coun.models.families.family import Family, Preprocessing

__all__ = ["Family", "Preprocessing", "catalogue", "family_of"]


@cache
def catalogue() -> dict[str, Family]:
    """Return the families by prefix, sorted.

    >>> catalogue()["timm"].spelling
    'timm:NAME'
    """
    modules = [
        importlib.import_module(f"{__name__}.{module.name}")
        for module in pkgutil.iter_modules(__path__)
    ]
    families = [module.FAMILY for module in modules if hasattr(module, "FAMILY")]
    return {family.prefix: family for family in sorted(families, key=lambda f: f.prefix)}


def family_of(name: str | None) -> tuple[Family, str] | None:
    """Return the family of the model *name* and the part after its prefix; None without one.

    >>> family_of("timm:resnet18")[1], family_of("resnet18")
    ('resnet18', None)
    """
    prefix, colon, argument = (name or "").partition(":")
    return (catalogue()[prefix], argument) if colon and prefix in catalogue() else None
