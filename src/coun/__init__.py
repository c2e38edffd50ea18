"""CoUn: make a trained classifier forget, and show the evidence.

Every name is imported when it is first used, so `import coun` itself takes milliseconds.

>>> import coun
>>> data = coun.load("digits")
>>> split = coun.Split.random(data, 0.1, seed=0)
>>> original = coun.train(data, "cnn", epochs=1)
>>> unlearned = coun.unlearn(original, split, "coun", epochs=1)
>>> metrics = coun.evaluate(unlearned)
>>> metrics["counts"]["forget"], 0 <= metrics["unlearn_accuracy"] <= 100
(144, True)
"""

from __future__ import annotations

import importlib

# `typing` takes some milliseconds, in which an interrupt would show a traceback.
TYPE_CHECKING = False
if TYPE_CHECKING:  # what type checkers and editors see; `__getattr__` imports the same names
    from typing import Any

    from coun import audit
    from coun.data import Data, Split, Views, from_arrays, from_dataset, load, read_index
    from coun.errors import CounError
    from coun.methods import Method, contrast
    from coun.models import MODELS
    from coun.registry import Registry
    from coun.runs import (
        Options,
        Run,
        evaluate,
        export,
        load_model,
        load_views,
        prepare,
        suspicious_labels,
        train,
        unlearn,
    )

__version__ = "0.2.0.dev0"

__all__ = [
    "MODELS",
    "CounError",
    "Data",
    "Method",
    "Options",
    "Registry",
    "Run",
    "Split",
    "Views",
    "audit",
    "contrast",
    "evaluate",
    "export",
    "from_arrays",
    "from_dataset",
    "load",
    "load_model",
    "load_views",
    "prepare",
    "read_index",
    "suspicious_labels",
    "train",
    "unlearn",
]

_MODULES = {  # the module that defines each public name
    "data": "Data Split Views from_arrays from_dataset load read_index",
    "errors": "CounError",
    "methods": "Method contrast",
    "models": "MODELS",
    "registry": "Registry",
    "runs": "Options Run evaluate export load_model load_views prepare suspicious_labels train "
    "unlearn",
}
_DEFINED_IN = {name: module for module, names in _MODULES.items() for name in names.split()}
_MODULE_NAMES = (
    "analysis attacks audit bench certificates cli data demo engine errors federated files "
    "integrations ledger methods metrics models multitask objectives plans plugins registry report "
    "runs seeds trust"
)
_SUBMODULES = set(_MODULE_NAMES.split())


def __getattr__(name: str) -> Any:
    """Import a public name or a submodule when it is first used (PEP 562)."""
    if name in _DEFINED_IN:
        value = getattr(importlib.import_module(f"coun.{_DEFINED_IN[name]}"), name)
    elif name in _SUBMODULES:
        value = importlib.import_module(f"coun.{name}")
    else:
        raise AttributeError(f"module 'coun' has no attribute '{name}'")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_SUBMODULES})
