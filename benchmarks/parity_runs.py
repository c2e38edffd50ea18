"""The comparisons of parity.py with whole runs of methods on the same batches."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from parity_common import (
    Batches,
    Case,
    Line,
    Meter,
    Steps,
    module_of,
    on_the_cpu,
    part_of,
    task_of,
    unlearned,
    weights,
)
from parity_methods import Pixels, method_module
from torch import Tensor, nn
from torch.nn import functional as F

import coun
from coun.engine import Task
from coun.methods.bad_teacher import bad_teacher
from coun.methods.salun import salient
from coun.models import Classifier
from coun.seeds import Seeds

EPOCHS = 2
SAME = {"epochs": EPOCHS, "batch_size": 32, "lr": 0.01, "schedule": "constant"}
ARGUMENTS = types.SimpleNamespace(
    imagenet_arch=False, warmup=0, unlearn_epochs=EPOCHS, no_l1_epochs=0, alpha=1e-3,
    print_freq=10**9, dataset="cifar10", num_classes=10, unlearn_lr=0.01, momentum=0.9,
    weight_decay=5e-4, gpu=0,
)  # fmt: skip


def by_epoch(batches: Batches) -> list[Batches]:
    """The batches of each epoch."""
    size = len(batches) // EPOCHS
    return [Batches(batches[k * size : (k + 1) * size]) for k in range(EPOCHS)]


def sgd(model: nn.Module, lr: float = 0.01) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr, momentum=0.9, weight_decay=5e-4)


def run_sparse(
    c: Case, script: Callable[..., Any], steps: Steps, roles: tuple[str, ...], *rest: Any
) -> nn.Module:
    """Run a function for one epoch of Sparse's or SalUn's code, epoch by epoch."""
    model = coun.models.copy_model(c.run.model)
    optimizer, epochs = sgd(model), {role: by_epoch(steps.of(role)) for role in roles}
    for epoch in range(EPOCHS):
        loaders = {role: epochs[role][epoch] for role in roles}
        with on_the_cpu():
            script(loaders, model, nn.CrossEntropyLoss(), optimizer, epoch, ARGUMENTS, *rest)
    return model


def sparse(folder: Path, c: Case) -> Iterator[Line]:
    """Gradient ascent and l1-sparse of Sparse's code."""
    name = "Unlearn-Sparse"
    ours, steps = unlearned(c, "neggrad", max_loss=1e9, **{**SAME, "lr": 0.01})
    model = run_sparse(c, method_module(folder, "GA", "unlearn").GA, steps, ("forget",))
    what = "NegGrad without `max_loss`: weights after 2 epochs"
    yield weights(c, what, name, ours, model, "")
    script = method_module(folder, "FT", "unlearn")
    for decay in ("epoch", "step"):
        ours, steps = unlearned(c, "l1_sparse", gamma=1e-3, decay=decay, **SAME)
        model = run_sparse(c, script.FT_l1, steps, ("retain",))
        words = "theirs lowers gamma once for each epoch" * (decay == "step")
        what = f"l1-sparse, `decay={decay}`: weights after 2 epochs"
        yield weights(c, what, name, ours, model, words)


def drawn_labels() -> tuple[list[Tensor], Any]:
    """A list, and a patch that adds to it what torch.randint draws from 10 classes."""
    drawn: list[Tensor] = []
    draw = torch.randint

    def remember(*values: Any, **options: Any) -> Tensor:
        result = draw(*values, **options)
        if values[0] == 10:
            drawn.append(result)
        return result

    return drawn, patch.object(torch, "randint", remember)


def salun_runs(folder: Path, c: Case) -> Iterator[Line]:
    """Random labels with and without the mask, and boundary expand and shrink, of SalUn's code."""
    name = "Unlearn-Saliency"
    script = method_module(folder, "RL").RL
    masks = {k.removeprefix("inner."): m for k, m in salient(task_of(c), 0.5, 32).items()}
    for method, mask in (("random_label", None), ("salun", masks)):
        drawn, remember = drawn_labels()
        with remember:
            ours, steps = unlearned(c, method, **SAME)
        labels = iter(drawn)
        with patch.object(torch, "randint", lambda *a, **k: next(labels)):  # noqa: B023
            model = run_sparse(c, script, steps, ("forget", "retain"), mask)
        words = "half of the weights are frozen" if mask else ""
        what = f"{'SalUn' if mask else 'RL'}: weights after 2 epochs"
        yield weights(c, what, name, ours, model, words)
    ours, steps = unlearned(c, "boundary_expand", weight_decay=5e-4, **SAME)
    model = run_sparse_wide(c, method_module(folder, "boundary_ex"), steps)
    yield weights(c, "Boundary expand: weights after 2 epochs", name, ours, model, "")
    # Without augmentation: theirs attacks the augmented batch, ours the image.
    plain = {**SAME, "unaugmented_epochs": EPOCHS, "weight_decay": 5e-4}
    ours, steps = unlearned(c, "boundary_shrink", **plain)
    shrink = method_module(folder, "boundary_sh").boundary_shrink_iter
    inside, teacher = Pixels(c), Pixels(c)
    optimizer = sgd(inside)
    for batches in by_epoch(steps.pixels("forget")):
        with on_the_cpu():
            criterion = nn.CrossEntropyLoss()
            shrink({"forget": batches}, inside, criterion, optimizer, 0, ARGUMENTS, None, teacher)
    what = "Boundary shrink, images not augmented: weights after 2 epochs"
    yield weights(c, what, name, ours, inside.model, "")


def run_sparse_wide(c: Case, script: Any, steps: Steps) -> nn.Module:
    """Run boundary expand with our extra row of the head, and drop that row afterwards."""
    wide = coun.models.copy_model(c.run.model)
    head = c.run.classifier.head_name.removeprefix("inner.")
    with on_the_cpu():
        script.expand_model(wide)
    with Seeds(0).fork("unlearned").as_global("init", "expand"):
        extra = nn.Linear(c.run.classifier.in_features, 1)
    linear = wide.get_submodule(head)
    assert isinstance(linear, nn.Linear)
    with torch.no_grad():
        linear.weight[-1:], linear.bias[-1:] = extra.weight, extra.bias
    inner = Case(c.logits, c.labels, types.SimpleNamespace(model=wide), c.split)  # type: ignore[arg-type]
    wide = run_sparse(inner, script.boundary_expanding_iter, steps, ("forget",))
    result = coun.models.copy_model(c.run.model)
    narrow = {k: v[:-1] if k.startswith(f"{head}.") else v for k, v in wide.state_dict().items()}
    result.load_state_dict(narrow)
    return result


def scrub_runs(folder: Path, c: Case) -> Iterator[Line]:
    """SCRUB and NegGrad+ of SCRUB's code, with its options for small networks."""
    name = "SCRUB"
    helpers = folder / "thirdparty/repdistiller"
    package = types.ModuleType("other_scrub")
    package.__path__ = [str(helpers / "helper")]
    tools = types.SimpleNamespace(
        AverageMeter=Meter, accuracy=lambda *v, **k: (torch.zeros(1),) * 2, param_dist=None
    )
    extra: dict[str, Any] = {"other_scrub": package, "other_scrub.util": tools}
    loops = module_of(helpers / "helper/loops.py", "other_scrub.loops", extra)
    options = types.SimpleNamespace(distill="kd", gamma=0.99, alpha=0.5, beta=0, print_freq=10**9)

    settings = {"max_steps": 1, "forget_batch_size": 16, "gamma": 0.99, "alpha": 0.5}
    ours, steps = unlearned(c, "scrub", temperature=4.0, **settings, **SAME)
    divergence = module_of(helpers / "distiller_zoo/KD.py").DistillKL(4.0)
    criteria = nn.ModuleList([nn.CrossEntropyLoss(), divergence, divergence])
    models = nn.ModuleList(coun.models.copy_model(c.run.model) for _ in range(2))
    optimizer = sgd(models[0])
    for epoch, retain in enumerate(by_epoch(steps.of("retain")), 1):
        parts = [(retain, "minimize")]
        if epoch <= 1:  # their `msteps`
            parts.insert(0, (steps.of("forget"), "maximize"))
        for loader, split in parts:
            with on_the_cpu():
                loops.train_distill(
                    epoch, loader, models, None, criteria, optimizer, options, split, quiet=True
                )
    what = "SCRUB: weights after 2 epochs, the first with a maximisation"
    yield weights(c, what, name, ours, models[0], "")

    ours, steps = unlearned(c, "neggrad_plus", alpha=0.9, **SAME)
    model = coun.models.copy_model(c.run.model)
    optimizer = sgd(model)
    for retain, forget in zip(*map(by_epoch, map(steps.of, ("retain", "forget"))), strict=True):
        with on_the_cpu():
            loops.train_negrad(
                1, retain, forget, model, nn.CrossEntropyLoss(), optimizer, 0.9, options, quiet=True
            )
    yield weights(c, "NegGrad+: weights after 2 epochs", name, ours, model, "")


def bad_teaching_run(folder: Path, c: Case) -> Iterator[Line]:
    """Bad Teacher, with the same untrained network."""
    name = "bad-teaching-unlearning"
    script = part_of(
        folder / "unlearn.py", {"torch": torch, "F": F, "np": __import__("numpy")},
        "UnlearnerLoss", "unlearning_step",
    )  # fmt: skip
    teachers: list[nn.Module] = []

    def made(task: Task) -> Classifier:
        teachers.append(result := bad_teacher(task))
        return result

    with patch("coun.methods.bad_teacher.bad_teacher", made):
        ours, steps = unlearned(c, "bad_teacher", epochs=EPOCHS, batch_size=32, reduction="mean")
    pairs = zip(steps.of("retain"), steps.of("forget"), strict=True)
    loader = [
        (torch.cat([a, b]), torch.cat([torch.zeros(len(a)), torch.ones(len(b))]))
        for (a, _), (b, _) in pairs
    ]
    model = coun.models.copy_model(c.run.model).train()
    full = coun.models.copy_model(c.run.model).eval()
    optimizer = torch.optim.Adam(model.parameters(), 1e-4)

    def unlearning(x: Tensor) -> Tensor:
        logits: Tensor = teachers[0](x).logits
        return logits

    with on_the_cpu():
        script.unlearning_step(model, unlearning, full, loader, optimizer, "cpu", 1.0)
    what = "BadT, `reduction=mean`: weights after 2 epochs"
    yield weights(c, what, name, ours, model, "")
