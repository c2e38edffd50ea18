"""The comparisons of parity.py with whole runs that use noise, stored updates or other labels."""

from __future__ import annotations

import copy
import random
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock, patch

import numpy as np
import torch
from parity_common import (
    CONTIGUOUS,
    Case,
    Line,
    differences,
    forget_rows,
    method_of,
    module_of,
    notebook,
    on_the_cpu,
    part_of,
    recorded,
    state,
    unlearned,
    weights,
)
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

import coun
from coun.engine import Task
from coun.methods import lotus as lotus_module
from coun.objectives import BatchContext
from coun.seeds import Seeds

SEEDS = Seeds(0).fork("unlearned")  # of the runs


def adam_cycle(folder: Path) -> Callable[..., Any]:
    """The loop of Bad Teaching's and SSD's code for methods that train with Adam."""
    names = {"torch": torch, "F": F, "nn": nn, "np": np}
    wanted = ("training_step", "validation_step", "validation_epoch_end", "accuracy", "get_lr")
    steps = part_of(folder / "utils.py", names, *wanted)
    quiet = {"evaluate": lambda *values: {}, "epoch_end": lambda *values: None}
    names |= vars(steps) | quiet
    cycle: Callable[..., Any] = part_of(
        folder / "unlearn.py", names, "fit_one_unlearning_cycle"
    ).fit_one_unlearning_cycle
    return cycle


def wrong_labels(folder: Path, c: Case) -> Iterator[Line]:
    """Fixed wrong labels, which SSD's and Bad Teaching's code call amnesiac."""
    name, epochs = "bad-teaching-unlearning", 2
    ours, steps = unlearned(
        c, "random_label", labels="fixed", epochs=epochs, batch_size=40, optimizer="adamw",
        lr=1e-3, weight_decay=0.0, schedule="constant",
    )  # fmt: skip
    _, true = forget_rows(c)
    shift = torch.randint(1, 10, true.shape, generator=SEEDS.torch("labels"))
    wrong, batches = (true + shift) % 10, []
    for context in steps.contexts:
        images = torch.cat([context.inputs(role) for role in ("retain", "forget")])
        labels = torch.cat([context.labels("retain"), wrong[context.slots("forget")]])
        batches.append((images, labels, labels))
    model = coun.models.copy_model(c.run.model)
    with on_the_cpu():
        adam_cycle(folder)(1, model, batches, [], 1e-3, "cpu")  # the batches of both epochs
    what = "RL with `labels=fixed`, Adam: weights after 2 epochs"
    yield weights(c, what, name, ours, model, "")


def unsir(folder: Path, c: Case) -> Iterator[Line]:
    """UNSIR for class 3: the noise, and the model after impair and repair."""
    name = "bad-teaching-unlearning"
    split = coun.Split.by_class(c.run.data, "3")
    case = Case(c.logits, c.labels, c.run, split)
    learnt: list[nn.ParameterList] = []
    read: list[Tensor] = []

    class Noise(nn.ParameterList):
        def __init__(self, values: Any) -> None:
            super().__init__(values)
            learnt.append(self)

    forward = BatchContext.forward

    def remember(self: BatchContext, x: Tensor, model: Any = None) -> Any:
        if model is None and "retain" in self.batches:
            read.append(x.detach().clone())
        return forward(self, x, model)

    with patch.object(nn, "ParameterList", Noise), patch.object(BatchContext, "forward", remember):
        ours, steps = unlearned(case, "unsir", batch_size=32, per_class=30, lr=1e-3)
    names = {"torch": torch, "F": F, "nn": nn, "np": np}
    script = part_of(folder / "unlearn.py", names, "UNSIR_noise_train")
    model = coun.models.copy_model(c.run.model).eval()
    (after,) = learnt[0]
    holder = nn.Module()
    start = torch.randn(after.shape, generator=SEEDS.torch("unsir"))
    holder.noise = nn.Parameter(start)
    holder.forward = lambda: holder.noise  # type: ignore[method-assign]
    with on_the_cpu():
        script.UNSIR_noise_train(holder, model, 3, 25, 32, "cpu")
    yield Line(
        "UNSIR: noise after 25 steps", name, *differences(after.detach(), holder.noise.detach())
    )
    contexts = [context for context in steps.contexts if "retain" in context.batches]
    batches: list[tuple[Tensor, Tensor, Tensor]] = []
    for context, x in zip(contexts, read, strict=True):
        labels = context.labels("retain")
        labels = torch.cat([labels, torch.full((len(x) - len(labels),), 3)])
        batches.append((x, labels, labels))
    first = sum(len(x) > len(k.labels("retain")) for k, x in zip(contexts, read, strict=True))
    words = "theirs begins with the gradients that training the noise left in the model"
    leftover = copy.deepcopy(model)
    for own, other in zip(model.parameters(), leftover.parameters(), strict=True):
        other.grad = own.grad
    model.zero_grad()
    for student, what, why in (
        (model, "UNSIR, gradients cleared before the impair stage: weights", ""),
        (leftover, "UNSIR: weights", words),
    ):
        with on_the_cpu():
            for part in (batches[:first], batches[first:]):
                adam_cycle(folder)(1, student, part, [], 1e-3, "cpu")
        yield weights(case, what, name, ours, student, why)


class Shelf:
    """Stands for the files in which their training keeps its updates, and for their pickles."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, Tensor]] = {}

    def open(self, name: str, mode: str) -> Any:
        if mode == "rb" and name not in self.kept:
            raise OSError(name)
        return types.SimpleNamespace(name=name, close=lambda: None)

    def dump(self, update: dict[str, Tensor], file: Any) -> None:
        self.kept[file.name] = dict(update)

    def load(self, file: Any) -> dict[str, Tensor]:
        return self.kept[file.name]


def amnesiac(folder: Path, c: Case) -> Iterator[Line]:
    """Amnesiac unlearning of class 3: a training that stores updates, and their subtraction."""
    name, data, epochs = "AmnesiacML", c.run.data, 1
    with recorded() as steps:
        original = coun.train(
            data, "cnn", epochs=epochs, batch_size=4, lr=0.01, schedule="constant", warmup=0.0,
            options=CONTIGUOUS,
        )  # fmt: skip
    split = coun.Split.by_class(data, "3")
    ours = coun.unlearn(original, split, "amnesiac", repair=False, options=CONTIGUOUS)
    model = coun.models.copy_model(original.model)
    model.load_state_dict(steps.initial)
    shelf = Shelf()
    names: dict[str, Any] = {
        "open": shelf.open, "pickle": shelf, "torch": torch, "criterion": F.cross_entropy,
        "optimizer": torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, weight_decay=5e-4),
        "log_interval": 10**9, "resnet": model, "trainingepochs": epochs,
        "test": lambda *values, **options: 0, "three_test_loader": 0, "nonthree_test_loader": 0,
    }  # fmt: skip
    cells = notebook(folder / "Amnesiac Unlearning - MNIST.ipynb")
    train = next(cell for cell in cells if "def train(" in cell)
    subtract = next(cell for cell in cells if "state[param_tensor] - const*steps" in cell)
    batches = steps.of("retain")
    size = len(batches) // epochs
    with on_the_cpu():
        exec(train, names)
        for epoch in range(epochs):
            part = batches[epoch * size : (epoch + 1) * size]
            names["train"](model, epoch + 1, part, returnable=True)
        trained = float((state(model) - state(original.model)).abs().max())
        exec(subtract, names)
    words = f"{len(shelf.kept)} of {len(batches)} updates are taken back"
    line = Case(c.logits, c.labels, original, split)
    yield weights(line, "Amnesiac: weights without repair", name, ours, model, words)
    assert trained < 1e-5, trained


def fisher(folder: Path, c: Case) -> Iterator[Line]:
    """Fisher forgetting of class 3, with the same rows and the same noise."""
    name, data, rows = "SelectiveForgetting", c.run.data, 30
    split = coun.Split.by_class(data, "3")
    ours = coun.unlearn(c.run, split, "fisher", samples=rows, alpha=1e-6, options=CONTIGUOUS)
    cells = notebook(folder / "Forgetting.ipynb")
    model = coun.models.copy_model(c.run.model)
    retain = split.rows(data, "retain")
    order = torch.randperm(len(retain), generator=SEEDS.torch("fisher"))
    taken = data.train.take(retain[order[:rows]])
    images = data.views.evaluate(taken.fetch(torch.arange(rows)))
    names: dict[str, Any] = {
        "torch": torch, "nn": nn, "F": F, "copy": copy, "tqdm": lambda x: x, "num_classes": 10,
        "class_to_forget": 3, "num_to_forget": None, "args": types.SimpleNamespace(device="cpu"),
    }  # fmt: skip
    script = part_of(cells, names, "hessian", "get_mean_var")
    with on_the_cpu():
        script.hessian(TensorDataset(images, taken.labels), model)
    generator = SEEDS.torch("fisher", "noise")
    for p in model.parameters():
        p.data0 = p.data.clone()  # type: ignore[attr-defined]
        mean, variance = script.get_mean_var(p, False, alpha=1e-6)
        p.data = mean + variance.sqrt() * torch.randn(p.shape, generator=generator)
    case = Case(c.logits, c.labels, c.run, split)
    yield weights(case, "Fisher forgetting: weights", name, ours, model, f"F of {rows} rows")


class OneByOne(list[Any]):
    """Retain batches, of which each new iterator gives the next one."""

    def __iter__(self) -> Iterator[Any]:
        return iter([self.pop(0)])


def contrastive(folder: Path, c: Case) -> Iterator[Line]:
    """Contrastive Unlearning on the features that the head reads."""
    name = "Contrastive-Unlearning"
    package = types.ModuleType("core.trainer.base")
    package.Trainer = object  # type: ignore[attr-defined]
    extra = {k: types.ModuleType(k) for k in ("core", "core.trainer", "wandb")}
    script = module_of(
        folder / "core/trainer/unlearn/unlearn.py", extra={**extra, "core.trainer.base": package}
    )
    ours, steps = unlearned(
        c, "contrastive_unlearning", epochs=2, omega=2, batch_size=30, lr=0.01,
        weighting="reference",
    )  # fmt: skip
    classifier = c.run.classifier
    inner = copy.deepcopy(classifier)

    class Featured(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            out = self.inner(x)
            return out.logits, F.normalize(out.features, dim=1)

    arguments = types.SimpleNamespace(
        device="cpu", lr=0.01, momentum=0.9, batch_size=30, temp=0.7, retain_sampling_freq=1,
        CT_ratio=3.0, CE_ratio=1.0, unlearn_type="single_class", loss_ver=2,
    )  # fmt: skip
    model = Featured()
    loaders = [steps.of("forget"), OneByOne(steps.of("retain"))]
    trainer = script.UnlearnTrainer(model, loaders, [], arguments)
    trainer._evaluate = lambda loader: (0.0, 0.0)
    with on_the_cpu():
        trainer.fit(0)
    what = "Contrastive Unlearning, `reference`: weights after 2 epochs"
    yield weights(c, what, name, ours, inner.inner, "")


def lotus_run(folder: Path, c: Case) -> Iterator[Line]:
    """LoTUS for an epoch, with the same Gumbel noise."""
    name, roles = "LoTUS", ("retain", "forget")
    taus: list[float] = []
    unseen: list[float] = []
    draw, expected = lotus_module.gumbel_softmax, lotus_module.expected_accuracy

    def watched(logits: Tensor, generator: torch.Generator, tau: float) -> Tensor:
        taus.append(tau)
        return draw(logits, generator, tau)

    def remember(task: Task) -> float:
        unseen.append(result := expected(task))
        return result

    with (
        patch.object(lotus_module, "gumbel_softmax", watched),
        patch.object(lotus_module, "expected_accuracy", remember),
    ):
        ours, steps = unlearned(c, "lotus", epochs=1, batch_size=32, lr=1e-3)
    loader, noise = [], []
    for context in steps.contexts:
        images = torch.cat([context.inputs(role) for role in roles])
        counts = [len(context.labels(role)) for role in roles]
        loader.append((images, None, torch.cat([torch.zeros(counts[0]), torch.ones(counts[1])])))
        drawn = [
            torch.empty(n, 10).exponential_(generator=context.generator(f"gumbel, {role}"))
            for n, role in zip(counts, roles, strict=True)
        ]
        noise.append(-torch.cat(drawn).log())
    waiting = iter([x for x in noise for _ in range(2)])  # for the hard and the soft targets

    def transform(logits: Tensor, tau: Any = 1.0, hard: bool = False) -> Tensor:
        noisy = logits + next(waiting)
        return F.one_hot(noisy.argmax(1), 10) if hard else (noisy / tau).softmax(1)

    images, labels = forget_rows(c)

    def accuracy(model: nn.Module, rows: str) -> float:
        if rows == "val":
            return unseen[0] / 100
        with torch.no_grad():
            return float((model(images).argmax(1) == labels).double().mean())

    names: dict[str, Any] = {
        "torch": torch, "F": F, "np": np, "time": time, "random": random, "tqdm": lambda x: x,
        "DEVICE": "cpu", "mlflow": MagicMock(), "compute_accuracy": accuracy,
        "UnLearningData": lambda **options: None, "set_work_init_fn": lambda seed: None,
        "DataLoader": lambda *values, **options: loader,
    }  # fmt: skip
    path = folder / "src/unlearning_methods/lotus_class.py"
    loss = method_of(path, "LoTUS", "unlearning_loss", dict(names))
    run = method_of(path, "LoTUS", "unlearn", dict(names))
    model, teacher = (coun.models.copy_model(c.run.model) for _ in range(2))
    rows = types.SimpleNamespace(dataset=range(10))

    class Loaders(dict[str, Any]):
        def __getitem__(self, key: str) -> Any:
            return "val" if key == "val" else rows

    setting = types.SimpleNamespace(
        dl=Loaders(), batch_size=32, seed=0, teacher=teacher, model=model, epochs=1, alpha=1.0,
        ProbabilityTranformer=transform,
        optimizer=torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=5e-4),
    )  # fmt: skip
    setting.unlearning_loss = lambda *values: loss(setting, *values)
    with on_the_cpu():
        run(setting, 0.3, False)
    words = f"tau is {float(setting.temperature):.4f}, here {max(taus):.4f}"
    yield weights(c, "LoTUS: weights after an epoch", name, ours, model, words)
