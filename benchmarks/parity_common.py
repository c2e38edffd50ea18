"""What the comparisons of parity.py share: the trained case, and modules of the other side."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import io
import json
import re
import sys
import types
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple
from unittest.mock import MagicMock, patch

import numpy as np
import torch
from torch import Tensor, nn

import coun
from coun.engine import Task
from coun.objectives import BatchContext
from coun.seeds import Seeds

# Modules that the authors' files import and that the compared functions do not use.
UNUSED = (
    *("imagenet", "arg_parser", "unlearn", "utils", "wandb", "seaborn", "torchvision"),
    *("unlearning_bench", "unlearning_bench.paths"),
)


CONTIGUOUS = coun.Options(device="cpu", precision="fp32", memory_format="contiguous")


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


class Side(NamedTuple):
    """A repository to compare with: its owner, the commit that was read, and the comparisons."""

    owner: str
    commit: str
    compares: tuple[Callable[[Path, Case], Iterator[Line]], ...]


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


class Meter:
    """What their loops print at the end of an epoch; it is not compared."""

    avg = val = 0.0

    def update(self, *values: float) -> None:
        """Accept a value."""


class Batches(list[tuple[Tensor, Tensor]]):
    """The batches of one role, which stand for a loader."""

    dataset = None


# What their training loops print or save on the way; nothing of it is compared.
SILENT = types.SimpleNamespace(AverageMeter=Meter, accuracy=lambda output, target: [torch.zeros(1)])


class Steps:
    """What the steps of a run read, by role and in order: inputs and labels."""

    def __init__(self) -> None:
        self.contexts: list[BatchContext] = []
        self.initial: dict[str, Tensor] = {}  # the model before the first step

    def of(self, role: str) -> Batches:
        """The batches of *role*."""
        contexts = [context for context in self.contexts if role in context.batches]
        return Batches((context.inputs(role), context.labels(role)) for context in contexts)

    def pixels(self, role: str) -> Batches:
        """The batches of *role* before any view, with pixels in 0..1."""
        batches = [context.batches[role] for context in self.contexts if role in context.batches]
        return Batches((batch.images.float() / 255, batch.labels) for batch in batches)


@contextlib.contextmanager
def recorded() -> Iterator[Steps]:
    """Keep what the steps of a run read."""
    steps, begin = Steps(), BatchContext.__init__

    def start(self: BatchContext, model: Any, *values: Any, **options: Any) -> None:
        begin(self, model, *values, **options)
        if not steps.contexts:
            steps.initial = {k: v.detach().clone() for k, v in model.inner.state_dict().items()}
        steps.contexts.append(self)

    with patch.object(BatchContext, "__init__", start):
        yield steps


def unlearned(c: Case, method: str, **settings: Any) -> tuple[coun.Run, Steps]:
    """Run *method*, and keep what its steps read."""
    with recorded() as steps:
        return coun.unlearn(c.run, c.split, method, options=CONTIGUOUS, **settings), steps


@contextlib.contextmanager
def on_the_cpu() -> Iterator[None]:
    """Let scripts that name CUDA devices run on the CPU, without a word."""
    tensor_to, module_to, device, randint = Tensor.to, nn.Module.to, torch.device, torch.randint

    def here(call: Any) -> Any:
        def wrapped(self: Any, *where: Any, **options: Any) -> Any:
            return call(self, *("cpu" if w == "cuda" else w for w in where), **options)

        return wrapped

    with (
        patch.object(Tensor, "to", here(tensor_to)),
        patch.object(nn.Module, "to", here(module_to)),
        patch.object(torch, "device", lambda name: device("cpu" if "cuda" in name else name)),
        patch.object(torch, "randint", randint),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
        cuda_is_cpu(),
    ):
        warnings.simplefilter("ignore")
        yield


def state(model: nn.Module) -> Tensor:
    """All weights and BatchNorm statistics as one vector."""
    return torch.cat([v.flatten() for v in model.state_dict().values() if v.is_floating_point()])


def weights(c: Case, what: str, name: str, ours: coun.Run, model: nn.Module, words: str) -> Line:
    """Compare two models, and say how far the run went."""
    step = float((state(model) - state(c.run.model)).abs().max())
    words = f"the largest change of a weight is {step:.2g}" + (f"; {words}" if words else "")
    return Line(what, name, *differences(state(ours.model), state(model)), words)


def notebook(path: Path) -> list[str]:
    """The source of each cell of code of a notebook, without lines for the shell."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return [re.sub(r"(?m)^[!%].*$", "", source) for source in sources]


def part_of(source: Path | list[str], names: Mapping[str, Any], *wanted: str) -> Any:
    """The functions *wanted* of a file, or of the cells of a notebook, with *names* to use."""
    if isinstance(source, Path):
        text = source.read_text(encoding="utf-8")
    else:
        text = "\n".join(cell for cell in source if any(f"def {name}(" in cell for name in wanted))
    nodes = ast.walk(ast.parse(text))
    body = [n for n in nodes if isinstance(n, ast.FunctionDef) and n.name in wanted]
    scope = dict(names)
    exec(compile(ast.Module(list(body), []), "the other side", "exec"), scope)
    return types.SimpleNamespace(**{name: scope[name] for name in wanted})


def method_of(path: Path, kind: str, name: str, names: dict[str, Any]) -> Callable[..., Any]:
    """One method of a class of a file, as a function."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    classes = [n for n in ast.walk(tree) if isinstance(n, ast.ClassDef) and n.name == kind]
    functions = [n for n in classes[0].body if isinstance(n, ast.FunctionDef) and n.name == name]
    exec(compile(ast.Module(list(functions), []), path.name, "exec"), names)
    function: Callable[..., Any] = names[name]
    return function


def in_order(c: Case, role: str, size: int) -> Batches:
    """All rows of *role* in plain batches, in the order of the data."""
    data = c.run.data
    rows = data.train.take(c.split.rows(data, role))
    images = data.views.evaluate(rows.fetch(torch.arange(len(rows))))
    return Batches(zip(images.split(size), rows.labels.split(size), strict=True))


def flat_weights(model: nn.Module) -> Tensor:
    """All parameters as one vector."""
    return torch.cat([p.detach().flatten() for p in model.parameters()])
