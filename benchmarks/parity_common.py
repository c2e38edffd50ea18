"""What the comparisons of parity.py share: the trained case, and modules of the other side."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import torch
from torch import Tensor

import coun
from coun.engine import Task
from coun.seeds import Seeds

# Modules that the authors' files import and that the compared functions do not use.
UNUSED = (
    *("imagenet", "arg_parser", "unlearn", "utils", "wandb", "seaborn", "torchvision"),
    *("unlearning_bench", "unlearning_bench.paths"),
)


@dataclass(frozen=True)
class Line:
    """One comparison: what, with which repository, the largest differences, and in words."""

    what: str
    repository: str
    absolute: float
    relative: float
    words: str = ""


def differences(ours: Any, theirs: Any) -> tuple[float, float]:
    """The largest absolute difference, and the same over the largest |value| of the other side."""
    a, b = (np.asarray(x, dtype=np.float64).ravel() for x in (ours, theirs))
    largest = float(np.abs(a - b).max())
    scale = float(np.abs(b).max())
    return largest, largest / scale if scale else 0.0


@contextlib.contextmanager
def stubbed(extra: Mapping[str, ModuleType] | None = None) -> Iterator[None]:
    """Stand in for modules that are imported and not used, where they are not installed.

    Args: extra: further stand-ins by name, in the place of installed modules as well.
    """
    before = dict(sys.modules)
    tops = {name.partition(".")[0] for name in UNUSED}
    missing = {top for top in tops - set(before) if importlib.util.find_spec(top) is None}
    absent = [name for name in UNUSED if name.partition(".")[0] in missing]
    sys.modules.update({name: MagicMock(name=name) for name in absent})
    sys.modules.update(extra or {})
    try:
        yield
    finally:
        for name in [*absent, *(extra or {})]:
            if name in before:
                sys.modules[name] = before[name]
            else:
                sys.modules.pop(name, None)


def module_of(
    path: Path, name: str = "", extra: Mapping[str, ModuleType] | None = None
) -> ModuleType:
    """Import one file of a checkout.

    Args:
        name: what the module is called, with its package where the file has relative imports.
        extra: stand-ins for modules that it imports, see `stubbed`.
    """
    spec = importlib.util.spec_from_file_location(name or f"other_side_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with stubbed(extra):
        spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def cuda_is_cpu() -> Iterator[None]:
    """Let scripts that call `tensor.cuda()` run on the CPU."""
    cuda = torch.Tensor.cuda
    try:
        torch.Tensor.cuda = lambda self, *a, **k: self  # type: ignore[method-assign, assignment]
        yield
    finally:
        torch.Tensor.cuda = cuda  # type: ignore[method-assign]


@dataclass(frozen=True)
class Case:
    """Logits of one trained model on rows that it knows, must forget, and never saw."""

    logits: dict[str, Tensor]
    labels: dict[str, Tensor]
    run: coun.Run
    split: coun.Split


def case() -> Case:
    data = coun.load("digits", limit=600)
    run = coun.train(data, "cnn", epochs=8, options=coun.Options(device="cpu", precision="fp32"))
    split = coun.Split.random(data, 0.2)
    out = coun.runs.predictions(run.classifier, data, split)
    logits = {part: x.logits for part, x in out.outputs.items()}
    return Case(logits, out.labels, run, split)


def forget_rows(c: Case) -> tuple[Tensor, Tensor]:
    """The forget rows as the model evaluates them."""
    data = c.run.data
    rows = data.train.take(c.split.rows(data, "forget"))
    return data.views.evaluate(rows.fetch(torch.arange(len(rows)))), rows.labels


def task_of(c: Case) -> Task:
    cpu, roles = torch.device("cpu"), frozenset({"forget", "retain"})
    return Task(c.run.data, c.split, Seeds(0), roles, c.run.classifier, None, cpu)
