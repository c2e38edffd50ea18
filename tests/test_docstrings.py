"""What a user calls is shown by an example in its docstring; the examples run as doctests."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest

import coun

PACKAGES = ["coun"] + [
    module.name for module in pkgutil.walk_packages(coun.__path__, "coun.") if module.ispkg
]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_exported_name_has_an_example(package: str) -> None:
    module = importlib.import_module(package)
    for name in getattr(module, "__all__", ()):
        value = getattr(module, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert ">>> " in (value.__doc__ or ""), name
