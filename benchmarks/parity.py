"""Compare coun with code of the authors on the same inputs; docs/results/parity.md has the table.

The other side is read from checkouts of its repositories, at the commits in `COMMITS`. None of its
code is part of this repository. A checkout that is not there is left out, and the page says so.

    git clone https://github.com/OPTML-Group/Unlearn-Saliency DIR/Unlearn-Saliency   # and so on
    python benchmarks/parity.py DIR
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import torch
from torch import Tensor, nn

import coun
from coun.attacks import lira_offline, lira_online, rmia_ratio, rmia_score
from coun.attacks.signals import entropy, modified_entropy
from coun.attacks.svc import svc_efficacy
from coun.engine import Task, batch_gradients
from coun.files import write_text
from coun.methods.salun import salient
from coun.methods.ssd import dampen
from coun.metrics import zero_retrain_forgetting
from coun.objectives.contrastive.nt_xent import moco_loss, nt_xent_loss
from coun.objectives.contrastive.redundancy import barlow_twins_loss, vicreg_loss
from coun.objectives.contrastive.relational import co2_loss
from coun.objectives.distillation import kl_loss
from coun.seeds import Seeds

RESULTS = Path(__file__).parents[1] / "docs" / "results"
COMMITS = {
    "Unlearn-Saliency": ("OPTML-Group", "a6e89fd17ff737c24c6aa16c9574469a234ffd91"),
    "selective-synaptic-dampening": ("if-loops", "cdfdc0e35c1908e032a6e150d882b0fa17833f85"),
    "SCRUB": ("meghdadk", "98ffb1196ffbec2665092598c13ad3b6ec3d095d"),
    "lightly": ("lightly-ai", "e8d317fc5a87f4387a85a35e689869039ec249ee"),
    "ml_privacy_meter": ("privacytrustlab", "e384af8fd9319b8eeb1303aa82474df1441e3c59"),
    "privacy": ("tensorflow", "03035d5d4a271ac795dab80f5bc1cef82fc3d462"),
}
# Modules that the authors' files import and that the compared functions do not use.
UNUSED = ("imagenet", "arg_parser", "unlearn", "utils", "wandb", "seaborn", "torchvision")


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
def stubbed(names: tuple[str, ...] = UNUSED) -> Iterator[None]:
    """Stand in for modules that are imported and not used, where they are not installed."""
    added = []
    for name in names:
        if name not in sys.modules and importlib.util.find_spec(name) is None:
            sys.modules[name] = MagicMock(name=name)
            added.append(name)
    try:
        yield
    finally:
        for name in added:
            del sys.modules[name]


def module_of(path: Path) -> ModuleType:
    """Import one file of a checkout."""
    spec = importlib.util.spec_from_file_location(f"other_side_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with stubbed():
        spec.loader.exec_module(module)
    return module


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


def salun(folder: Path, c: Case) -> Iterator[Line]:
    name = "Unlearn-Saliency"
    svc = module_of(folder / "Classification/evaluation/SVC_MIA.py")
    conf = {k: x.softmax(1).gather(1, c.labels[k][:, None]) for k, x in c.logits.items()}
    size = min(len(conf["retain"]), len(conf["test"]))
    members, others = conf["retain"][:size], conf["test"][:size]
    theirs = 100 * svc.SVC_fit_predict(members, others, torch.empty(0, 1), conf["forget"])
    ours = svc_efficacy(
        members.ravel().double(), others.ravel().double(), conf["forget"].ravel().double()
    )
    yield Line("MIA efficacy, SVC on the confidence, %", name, *differences(ours, theirs))
    p, labels = c.logits["forget"].double().softmax(1), c.labels["forget"]
    yield Line("entropy", name, *differences(entropy(c.logits["forget"]), svc.entropy(p)))
    theirs = svc.m_entropy(p, labels)
    same = modified_entropy(c.logits["forget"], labels, "reference")
    yield Line("modified entropy, `reference`", name, *differences(same, theirs))
    right = modified_entropy(c.logits["forget"], labels)
    yield Line(
        "modified entropy", name, *differences(right, theirs),
        "theirs writes ln p for ln(1 - p) and replaces the columns of all labels of the batch",
    )  # fmt: skip
    yield from salun_mask(folder, c)


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
    cuda, save = torch.Tensor.cuda, torch.save
    try:
        torch.Tensor.cuda = lambda self, *a, **k: self  # type: ignore[method-assign, assignment]
        torch.save = lambda value, path: saved.update({str(path): value})  # type: ignore[assignment]
        script.save_gradient_ratio({"forget": loader}, model, nn.CrossEntropyLoss(), arguments)
    finally:
        torch.Tensor.cuda, torch.save = cuda, save  # type: ignore[method-assign]
    theirs = saved["with_0.5.pt"]
    pairs = [
        (masks[f"inner.{k}"] if f"inner.{k}" in masks else masks[k], m) for k, m in theirs.items()
    ]
    other = sum(int((a != b.bool()).sum()) for a, b in pairs)
    total = sum(m.numel() for m in theirs.values())
    yield Line(
        "saliency mask at 50%, entries that differ",
        "Unlearn-Saliency",
        float(other),
        other / total,
        f"of {total:,} entries",
    )


def forget_rows(c: Case) -> tuple[Tensor, Tensor]:
    """The forget rows as the model evaluates them."""
    data = c.run.data
    rows = data.train.take(c.split.rows(data, "forget"))
    return data.views.evaluate(rows.fetch(torch.arange(len(rows)))), rows.labels


def task_of(c: Case) -> Task:
    cpu, roles = torch.device("cpu"), frozenset({"forget", "retain"})
    return Task(c.run.data, c.split, Seeds(0), roles, c.run.classifier, None, cpu)


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


def scrub(folder: Path, c: Case) -> Iterator[Line]:
    loss = module_of(folder / "thirdparty/repdistiller/distiller_zoo/KD.py").DistillKL(4.0)
    student, teacher = c.logits["forget"].double(), c.logits["forget"].roll(1, 0).double()
    ours = 16.0 * kl_loss(student, teacher, temperature=4.0)
    yield Line("SCRUB: distillation loss", "SCRUB", *differences(ours, loss(student, teacher)))


def lightly(folder: Path, c: Case) -> Iterator[Line]:
    sys.path.insert(0, str(folder))
    package = types.ModuleType("lightly")  # their __init__ imports much that is not needed here
    package.__path__ = [str(folder / "lightly")]
    before = {k: sys.modules.pop(k) for k in list(sys.modules) if k.split(".")[0] == "lightly"}
    sys.modules["lightly"] = package
    for name in ("loss", "models", "models.modules", "utils", "loss.regularizer"):
        part = types.ModuleType(f"lightly.{name}")
        part.__path__ = [str(folder / "lightly" / name.replace(".", "/"))]
        sys.modules[f"lightly.{name}"] = part
    # The memory bank imports helpers of models, which an empty bank does not use.
    sys.modules["lightly.models.utils"] = MagicMock(name="lightly.models.utils")
    sys.modules["lightly.models"].utils = sys.modules["lightly.models.utils"]  # type: ignore[attr-defined]
    try:
        from lightly.loss.barlow_twins_loss import BarlowTwinsLoss
        from lightly.loss.ntx_ent_loss import NTXentLoss
        from lightly.loss.regularizer.co2 import CO2Regularizer
        from lightly.loss.vicreg_loss import VICRegLoss

        generator = torch.Generator().manual_seed(0)
        a, b = torch.randn(2, 64, 32, dtype=torch.float64, generator=generator)
        b = a + 0.5 * b
        vicreg = vicreg_loss(a, b, invariance=25.0, variance=25.0, covariance=1.0)
        barlow = barlow_twins_loss(a, b, off_diagonal=0.005)
        co2 = CO2Regularizer(alpha=1.0, t_consistency=0.05)
        for name, ours, loss in (
            ("NT-Xent", nt_xent_loss(a, b, temperature=0.5), NTXentLoss(temperature=0.5)),
            ("Barlow Twins", barlow, BarlowTwinsLoss(0.005)),
            ("VICReg", vicreg, VICRegLoss()),
            ("CO2", co2_loss(a, b, temperature=0.05), co2),
        ):
            yield Line(f"{name} loss", "lightly", *differences(ours, loss(a, b)))
        queued = NTXentLoss(temperature=0.07, memory_bank_size=(128, 32))
        queue = queued.memory_bank.bank.double().clone()
        queued.memory_bank.bank = queue.clone()  # in the precision of the embeddings
        theirs = queued(a.requires_grad_(True), b).detach()
        ours = moco_loss(a.detach(), b, queue, temperature=0.07)
        yield Line("MoCo loss with a queue", "lightly", *differences(ours, theirs))
    finally:
        sys.path.remove(str(folder))
        for name in [k for k in sys.modules if k.split(".")[0] == "lightly"]:
            del sys.modules[name]
        sys.modules.update(before)


def shadows(seed: int, rows: int, models: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    """Signals of one attacked model (N,) and of shadow models (M, N), and who trained on what."""
    generator = torch.Generator().manual_seed(seed)
    half = torch.rand(models, rows, generator=generator).argsort(0) < models // 2
    phi = torch.randn(models, rows, generator=generator).double() + 2.0 * half
    return torch.randn(rows, generator=generator).double() + 1.0, phi, half


def lira(folder: Path, c: Case) -> Iterator[Line]:
    other = module_of(folder / "research/mi_lira_2021/plot.py")
    import scipy.stats  # their file uses it as an attribute of scipy

    other.os, other.scipy = __import__("os"), scipy
    target, phi, member = shadows(0, 200)
    given = (
        member.numpy(),
        phi[:, :, None].numpy(),
        member[:1].numpy(),
        target[None, :, None].numpy(),
    )
    for name, ours, theirs, fixed in (
        ("online", lira_online, other.generate_ours, False),
        ("offline, `two_sided`", lira_offline, other.generate_ours_offline, False),
        ("online, fixed variance", lira_online, other.generate_ours, True),
    ):
        options: dict[str, Any] = {"fixed_variance": fixed}
        options |= {"variant": "two_sided"} if ours is lira_offline else {}
        score = ours(target, phi, member, **options)
        values, _ = theirs(*given, fix_variance=fixed)
        sign = -1.0  # their scores are low for members
        words = ""
        if fixed:
            words = ("theirs uses the spread of the IN scores on both sides, and counts the "
                     "differences between samples as spread")  # fmt: skip
        yield Line(f"LiRA, {name}", "privacy", *differences(score, sign * np.array(values)), words)


def rmia(folder: Path, c: Case) -> Iterator[Line]:
    other = module_of(folder / "modules/mia/attacks/rmia.py")
    target, phi, member = shadows(1, 200)
    z_target, z_phi, _ = shadows(2, 300)
    target, phi, z_target, z_phi = (torch.sigmoid(x) for x in (target, phi, z_target, z_phi))
    nobody = torch.zeros(z_phi.shape, dtype=torch.bool)
    theirs = other.run_rmia(
        target.numpy(), phi.T.numpy(), member.T.numpy(), z_target.numpy(), z_phi.T.numpy(), 0.3
    )
    for variant in ("reference", "correct"):
        ratios = (
            rmia_ratio(target, phi, member, variant=variant),
            rmia_ratio(z_target, z_phi, nobody, variant=variant),
        )
        score = rmia_score(*ratios)
        words = ""
        if variant == "correct":
            up = float((score - torch.from_numpy(theirs)).mean())
            words = ("for population rows theirs averages the K largest of 2K models, so their "
                     f"scores are {-up:.3f} higher on average")  # fmt: skip
        yield Line(
            f"RMIA score, `{variant}`", "ml_privacy_meter", *differences(score, theirs), words
        )


def memory_formats() -> list[tuple[str, list[float]]]:
    """Errors of BatchNorm's gradients in float32 against float64, by memory layout.

    Each is the largest of weight, bias and input: the largest difference over the largest value.
    """

    def gradients(count: int, dtype: torch.dtype, layout: torch.memory_format) -> list[Tensor]:
        generator = torch.Generator().manual_seed(0)
        images, weights = torch.randn(2, count, 64, 32, 32, generator=generator)
        norm = nn.BatchNorm2d(64).to(dtype).train()
        inputs = (images + 3).to(dtype).to(memory_format=layout).requires_grad_(True)
        (norm(inputs) * weights.to(dtype)).sum().backward()
        found = (norm.weight.grad, norm.bias.grad, inputs.grad)
        return [g.double() for g in found if g is not None]

    rows = []
    for name, layout in (
        ("contiguous", torch.contiguous_format),
        ("channels_last", torch.channels_last),
    ):
        errors = []
        for count in (64, 256):
            exact = gradients(count, torch.float64, torch.contiguous_format)
            inexact = gradients(count, torch.float32, layout)
            pairs = zip(inexact, exact, strict=True)
            errors.append(max(float((g - e).abs().max() / e.abs().max()) for g, e in pairs))
        rows.append((name, errors))
    return rows


SIDES: dict[str, Callable[[Path, Case], Iterator[Line]]] = {
    "Unlearn-Saliency": salun,
    "selective-synaptic-dampening": ssd,
    "SCRUB": scrub,
    "lightly": lightly,
    "privacy": lira,
    "ml_privacy_meter": rmia,
}
HEAD = """# Parity with the authors' code

The functions of `coun` and those of the authors were run on the same logits, weights and signals:
a small `cnn` on 600 digits, random embeddings of 64 x 32, and 8 shadow models. The table has the
largest absolute difference, and the same over the largest absolute value. Where a difference is
more than rounding, the last column says why. `python benchmarks/parity.py DIR` makes this page from
checkouts of the repositories; none of their code is part of this one.

| compared | with | largest difference | relative | why |
|---|---|---:|---:|---|
"""
TAIL = """
| repository | commit |
|---|---|
"""
LAYOUT = """
## Memory layout on the CPU

Convolutions are computed in channels-last layout by default. In float32 on the CPU, torch's
BatchNorm is less exact in this layout. The table has the largest relative error of its gradients
against float64, for batches of 64 channels and 32x32 pixels. In a whole network the difference is
hidden: a ReLU that switches because of rounding changes gradients by more, in both layouts.
`--memory-format contiguous`, or `memory_format = "contiguous"` in the `[compute]` of a bench,
computes in the usual layout.

| layout | 64 images | 256 images |
|---|---:|---:|
"""
REST = """
## What the script does not compare

Compared once by hand, to rounding: boundary shrink's labels, influence (WoodFisher), the FT loop,
and tug of war (ToW). KLOM differs on purpose: the authors' counting drops the largest
margin of each sample, because it lies on the last edge of the bins.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkouts", type=Path, help="folder with one checkout for each repository")
    folder = parser.parse_args().checkouts
    torch.set_num_threads(1)
    c = case()
    text, commits = HEAD, TAIL
    for name, compare in SIDES.items():
        owner, commit = COMMITS[name]
        address = f"[{owner}/{name}](https://github.com/{owner}/{name})"
        if not (folder / name).is_dir():
            text += f"| | {name} | | | no checkout was at hand |\n"
            continue
        for line in compare(folder / name, c):
            print(line, flush=True)
            text += (
                f"| {line.what} | {line.repository} | {line.absolute:.2g} | {line.relative:.1e} | "
                f"{line.words} |\n"
            )
        commits += f"| {address} | `{head(folder / name) or commit}` |\n"
    layouts = "".join(
        f"| {name} | {' | '.join(f'{error:.1e}' for error in errors)} |\n"
        for name, errors in memory_formats()
    )
    write_text(RESULTS / "parity.md", text + commits + LAYOUT + layouts + REST)


def head(folder: Path) -> str:
    """The commit of a checkout; empty where it is a plain folder of files."""
    if not (folder / ".git").exists():
        return ""
    command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    main()
