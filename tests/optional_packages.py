"""Packages that tests use where they are installed, and skip otherwise."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
import torch

_LIBRARIES = []  # torch forgets the operators of a library that is collected


def package(name: str) -> Any:
    """Import a package, or skip the test.

    timm and transformers import torchvision where it is installed. Its compiled operators fail
    to load where they were built for another torch; none of them is used here, so they are then
    declared without an implementation.
    """
    computed = importlib.util.find_spec("torchvision")
    if computed is not None and computed.origin and not _LIBRARIES:
        try:
            importlib.import_module("torchvision")
        except RuntimeError:
            text = (Path(computed.origin).parent / "_meta_registrations.py").read_text()
            names = re.findall(r'torchvision::(\w+)|register_meta\("(\w+)"', text)
            library = torch.library.Library("torchvision", "DEF")
            for operator in sorted({a or b for a, b in names}):
                library.define(f"{operator}(Tensor x) -> Tensor")
            _LIBRARIES.append(library)
    return pytest.importorskip(name)
