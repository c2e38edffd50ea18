"""The comparisons of parity.py that take steps with a model: methods, and parts of them."""

from __future__ import annotations

import contextlib
import io
import types
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from parity_common import (
    CONTIGUOUS,
    Case,
    Line,
    Meter,
    cuda_is_cpu,
    differences,
    flat_weights,
    forget_rows,
    module_of,
    task_of,
)
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import coun
from coun.engine import batch_gradients
from coun.methods.boundary_shrink import nearest_labels
from coun.methods.salun import salient
from coun.methods.ssd import dampen
from coun.metrics import zero_retrain_forgetting
from coun.seeds import Seeds


def salun_mask(folder: Path, c: Case) -> Iterator[Line]:
    """The mask of SalUn: their loop runs on CUDA, which is made to mean the CPU here."""
    script = module_of(folder / "Classification/generate_mask.py")
    model = coun.models.copy_model(c.run.model)
    task = task_of(c)
    size = 32
    masks = salient(task, 0.5, size)
    images, labels = forget_rows(c)
    loader = [(images[k : k + size], labels[k : k + size]) for k in range(0, len(labels), size)]
    saved: dict[str, dict[str, Tensor]] = {}
    arguments = types.SimpleNamespace(unlearn_lr=0.1, momentum=0.9, weight_decay=0.0, save_dir="")
    save = torch.save
    try:
        torch.save = lambda value, path: saved.update({str(path): value})  # type: ignore[assignment]
        with cuda_is_cpu():
            script.save_gradient_ratio({"forget": loader}, model, nn.CrossEntropyLoss(), arguments)
    finally:
        torch.save = save
    reference = saved["with_0.5.pt"]
    pairs = [
        (masks[f"inner.{k}"] if f"inner.{k}" in masks else masks[k], m)
        for k, m in reference.items()
    ]
    other = sum(int((a != b.bool()).sum()) for a, b in pairs)
    total = sum(m.numel() for m in reference.values())
    yield Line(
        "saliency mask at 50%, entries that differ",
        "Unlearn-Saliency",
        float(other),
        other / total,
        f"of {total:,} entries",
    )


def ssd(folder: Path, c: Case) -> Iterator[Line]:
    name = "selective-synaptic-dampening"
    other = module_of(folder / "src/ssd.py")
    values = {
        "lower_bound": 1, "exponent": 1, "magnitude_diff": None, "min_layer": -1, "max_layer": -1,
        "forget_threshold": 1, "dampening_constant": 1.0, "selection_weighting": 3.0,
    }  # fmt: skip
    model = coun.models.copy_model(c.run.model).eval()
    with contextlib.redirect_stdout(None):
        theirs = other.ParameterPerturber(
            model, torch.optim.SGD(model.parameters(), 0.1), "cpu", values
        )
    task, size, importances = task_of(c), 20, {}
    for role in ("retain", "forget"):
        data = c.run.data
        rows = data.train.take(task.indices(role))
        count = len(rows) // size
        images = data.views.evaluate(rows.fetch(torch.arange(count * size)))
        batches = [
            (images[k : k + size], None, rows.labels[k : k + size])
            for k in range(0, count * size, size)
        ]
        ours: dict[str, Tensor] = {}
        used = task.define(f"{role}, whole batches", task.indices(role)[: count * size])
        for _, gradients in batch_gradients(task, used, batch_size=size):
            for key, g in gradients.items():
                ours[key] = ours.get(key, 0) + g.square() / count
        importances[role] = (ours, theirs.calc_importance(batches))
    pairs = zip(importances["forget"][0].values(), importances["forget"][1].values(), strict=True)
    flat = [torch.cat([x.flatten() for x in side]) for side in zip(*pairs, strict=True)]
    yield Line("SSD: importances", name, *differences(*flat))
    damped = coun.models.copy_model(c.run.model)
    dampen(damped, importances["retain"][0], importances["forget"][0], 3.0, 1.0)
    theirs.modify_weight(importances["retain"][1], importances["forget"][1])
    sides = [torch.cat([p.detach().flatten() for p in m.parameters()]) for m in (damped, model)]
    before = torch.cat([p.detach().flatten() for p in c.run.model.parameters()])
    moved = int((sides[1] != before).sum())
    yield Line("SSD: dampened weights", name, *differences(*sides), f"{moved:,} weights move")
    metrics = module_of(folder / "src/metrics.py")
    p, q = (c.logits["forget"].roll(k, 0).double().softmax(1) for k in (0, 1))
    ours_zrf = zero_retrain_forgetting(p, q, "reference")
    theirs_zrf = float(1 - metrics.JSDiv(p, q))
    yield Line("zero-retrain forgetting, `reference`", name, *differences(ours_zrf, theirs_zrf))


def method_module(
    folder: Path, stem: str, place: str = "Classification/unlearn"
) -> types.ModuleType:
    """Import one file of SalUn's methods, without the files that it imports and does not use."""
    package = types.ModuleType("other_methods")
    package.__path__ = [str(folder / place)]
    implementation = types.ModuleType("other_methods.impl")
    implementation.iterative_unlearn = lambda function: function  # type: ignore[attr-defined]
    helpers = types.ModuleType("utils")
    helpers.AverageMeter = Meter  # type: ignore[attr-defined]
    helpers.accuracy = lambda output, target: [torch.zeros(())]  # type: ignore[attr-defined]
    stand_ins = {p.__name__: p for p in (package, implementation, helpers)}
    path = folder / place / f"{stem}.py"
    return module_of(path, f"other_methods.{stem}", stand_ins)


class Pixels(nn.Module):
    """The model on pixels in 0..1, as their models take them."""

    def __init__(self, c: Case) -> None:
        super().__init__()
        self.model, self.views = coun.models.copy_model(c.run.model).eval(), c.run.data.views

    def forward(self, pixels: Tensor) -> Tensor:
        mean, std = (torch.tensor(x).view(-1, 1, 1) for x in (self.views.mean, self.views.std))
        logits: Tensor = self.model((pixels - mean) / std)
        return logits


def boundary_shrink(folder: Path, c: Case) -> Iterator[Line]:
    """The class that the attack moves each forget row to."""
    script = method_module(folder, "boundary_sh")
    ours = nearest_labels(task_of(c), 0.1)
    data, model = c.run.data, Pixels(c)
    rows = data.train.take(c.split.rows(data, "forget"))
    pixels = rows.fetch(torch.arange(len(rows))).float() / 255
    moved = script.FGSM_perturb(pixels, rows.labels, model, 0.1, nn.CrossEntropyLoss())
    reference = model(moved).argmax(1)
    count = int((ours != rows.labels).sum())
    other = int((ours != reference).sum())
    words = f"of {len(ours)} labels; the attack moves {count} of them"
    yield Line(
        "boundary shrink: labels that differ",
        "Unlearn-Saliency",
        float(other),
        other / len(ours),
        words,
    )


def influence(folder: Path, c: Case) -> Iterator[Line]:
    """The weights after one step along the recursion of their code."""
    script, alpha = method_module(folder, "Wfisher"), 0.2
    data, model = c.run.data, coun.models.copy_model(c.run.model)
    ours = coun.unlearn(
        c.run, c.split, "influence", alpha=alpha, mode="reference", options=CONTIGUOUS
    )
    # coun draws the order in which the recursion visits the retain rows; they take that of a file.
    retain, forget = (c.split.rows(data, role) for role in ("retain", "forget"))
    generator = Seeds(0).fork("unlearned").torch("influence")
    retain = retain[torch.randperm(len(retain), generator=generator)]

    def loader(rows: Tensor) -> DataLoader[tuple[Tensor, ...]]:
        taken = data.train.take(rows)
        images = data.views.evaluate(taken.fetch(torch.arange(len(rows))))
        return DataLoader(TensorDataset(images, taken.labels), batch_size=32)

    arguments = types.SimpleNamespace(batch_size=32, gpu=0, imagenet_arch=False, alpha=alpha)
    loaders = {"retain": loader(retain), "forget": loader(forget)}
    with contextlib.redirect_stderr(io.StringIO()):
        script.Wfisher(loaders, model, nn.CrossEntropyLoss(), arguments)
    before, *after = (flat_weights(m) for m in (c.run.model, ours.model, model))
    step = float((after[1] - before).abs().max())
    yield Line(
        "influence (WoodFisher, `mode=reference`): weights",
        "Unlearn-Saliency",
        *differences(*after),
        f"the largest change of a weight is {step:.2g}",
    )


def finetune(folder: Path, c: Case) -> Iterator[Line]:
    """The weights after an epoch of FT on the same batches."""
    script, data = method_module(folder, "FT"), c.run.data
    batches: list[Tensor] = []

    class Recorded:
        """Views without random changes, which remember the batches of training."""

        def __call__(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
            batches.append(images.clone())
            return self.evaluate(images)

        def evaluate(self, images: Tensor) -> Tensor:
            return data.views.evaluate(images)

    plain = replace(data, views=Recorded(), source="")
    original = coun.train(plain, "cnn", epochs=1, options=CONTIGUOUS)
    batches.clear()
    settings = {"epochs": 1, "batch_size": 32, "lr": 0.01, "schedule": "constant"}
    ours = coun.unlearn(original, c.split, "finetune", options=CONTIGUOUS, **settings)
    labels = {
        bytes(image.numpy()): int(label)
        for image, label in zip(data.train.images, data.train.labels, strict=True)
    }
    loader = [
        (data.views.evaluate(x), torch.tensor([labels[bytes(image.numpy())] for image in x]))
        for x in batches
    ]
    model = coun.models.copy_model(original.model)
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, weight_decay=5e-4)
    arguments = types.SimpleNamespace(
        imagenet_arch=False, warmup=0, unlearn_epochs=1, no_l1_epochs=0, alpha=0, print_freq=10**9
    )
    with contextlib.redirect_stdout(None), cuda_is_cpu():
        script.FT({"retain": loader}, model, nn.CrossEntropyLoss(), optimizer, 0, arguments)
    sides = (flat_weights(ours.model), flat_weights(model))
    yield Line(
        "FT: weights after an epoch",
        "Unlearn-Saliency",
        *differences(*sides),
        f"{len(loader)} steps on the same batches",
    )
