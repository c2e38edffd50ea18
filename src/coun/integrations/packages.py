"""Import an optional package, or say how to install it."""

from __future__ import annotations

import importlib
from typing import Any

from coun.errors import CounError


def optional_package(module: str, install: str) -> Any:
    """Import *module*.

    Raises: CounError if it is not installed, with the command that installs it.

    >>> optional_package("json", "json").dumps(1)
    '1'
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise CounError(f"{module} cannot be imported: {error}; pip install {install}") from None
