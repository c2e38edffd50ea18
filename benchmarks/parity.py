"""Compare coun with code of the authors on the same inputs; docs/results/parity.md has the table.

The other side is read from checkouts of its repositories, at the commits in `COMMITS`. None of its
code is part of this repository. A checkout that is not there is left out, and the page says so.

    git clone https://github.com/OPTML-Group/Unlearn-Saliency DIR/Unlearn-Saliency   # and so on
    python benchmarks/parity.py DIR
"""

from __future__ import annotations

import argparse
import ast
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import torch
from parity_common import Case, Line, case, differences, module_of
from parity_methods import boundary_shrink, finetune, influence, salun_mask, scrub, ssd
from parity_recent import COMMITS as RECENT_COMMITS
from parity_recent import SIDES as RECENT_SIDES
from torch import Tensor, nn

from coun.attacks import lira_offline, lira_online, rmia_ratio, rmia_score
from coun.attacks.signals import entropy, modified_entropy
from coun.attacks.svc import svc_efficacy
from coun.files import write_text
from coun.metrics.ensembles import klom
from coun.metrics.tradeoff import tow
from coun.objectives.contrastive.nt_xent import moco_loss, nt_xent_loss
from coun.objectives.contrastive.redundancy import barlow_twins_loss, vicreg_loss
from coun.objectives.contrastive.relational import co2_loss

RESULTS = Path(__file__).parents[1] / "docs" / "results"
COMMITS = {
    "Unlearn-Saliency": ("OPTML-Group", "a6e89fd17ff737c24c6aa16c9574469a234ffd91"),
    "selective-synaptic-dampening": ("if-loops", "cdfdc0e35c1908e032a6e150d882b0fa17833f85"),
    "SCRUB": ("meghdadk", "98ffb1196ffbec2665092598c13ad3b6ec3d095d"),
    "lightly": ("lightly-ai", "e8d317fc5a87f4387a85a35e689869039ec249ee"),
    "ml_privacy_meter": ("privacytrustlab", "e384af8fd9319b8eeb1303aa82474df1441e3c59"),
    "privacy": ("tensorflow", "03035d5d4a271ac795dab80f5bc1cef82fc3d462"),
    "RUM": ("kairanzhao", "f593c9d605ca175a6f44ac0b977a18d86f13866e"),
    "data-unlearning-bench": ("RoyRin", "eb261f9c652aa1daae62c7f23f4e56286edf745c"),
    **RECENT_COMMITS,
}


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
    for compare in (salun_mask, boundary_shrink, influence, finetune):
        yield from compare(folder, c)


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
        reference = queued(a.requires_grad_(True), b).detach()
        ours = moco_loss(a.detach(), b, queue, temperature=0.07)
        yield Line("MoCo loss with a queue", "lightly", *differences(ours, reference))
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
    for name, ours, reference, fixed in (
        ("online", lira_online, other.generate_ours, False),
        ("offline, `two_sided`", lira_offline, other.generate_ours_offline, False),
        ("online, fixed variance", lira_online, other.generate_ours, True),
    ):
        options: dict[str, Any] = {"fixed_variance": fixed}
        options |= {"variant": "two_sided"} if ours is lira_offline else {}
        score = ours(target, phi, member, **options)
        values, _ = reference(*given, fix_variance=fixed)
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


def rum(folder: Path, c: Case) -> Iterator[Line]:
    """ToW, by the statements of their analysis script that compute it."""
    import pandas as pd  # they compute in its tables

    tree = ast.parse((folder / "surgical_plugins/analysis.py").read_text(encoding="utf-8"))
    loops = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.For) and "df[ratio_col_name] = 1 -" in ast.unparse(node)
    ]
    # The innermost loop over accuracies, and the product that follows it.
    loop = min(loops, key=lambda node: len(ast.unparse(node)))
    product = next(
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "df['tow']"
    )
    sides = [
        {"retain": 99.1, "forget": 93.4, "test": 91.7, "val": 92.0},
        {"retain": 98.2, "forget": 90.9, "test": 92.3, "val": 91.0},
    ]
    names = {"columns_to_compare": list(sides[0])}
    names |= {k: pd.DataFrame([v]) for k, v in zip(("df", "df_rt"), sides, strict=True)}
    module = ast.Module([loop, product], [])
    exec(compile(module, "analysis.py", "exec"), names)
    ours = [
        {
            "retain_accuracy": side["retain"],
            "unlearn_accuracy": 100 - side["forget"],
            "test_accuracy": side["test"],
        }
        for side in sides
    ]
    reference = float(names["df"]["tow"].iloc[0])
    yield Line("ToW", "RUM", *differences(tow(*ours), reference))


def data_unlearning_bench(folder: Path, c: Case) -> Iterator[Line]:
    """KLOM, as their code counts margins, and with the largest margin of a sample counted."""
    name = "data-unlearning-bench"
    other = module_of(folder / "unlearning_bench/eval.py")
    generator = np.random.default_rng(0)
    p, q = generator.normal(3, 1, (100, 50)), generator.normal(3.5, 1.5, (100, 50))
    ours = klom(p, q)
    pairs = list(zip(p.T, q.T, strict=True))
    reference = np.array([other.compute_binned_KL_div(a, b) for a, b in pairs])
    yield Line(
        "KLOM", name, *differences(ours, reference),
        "theirs leaves the largest margin of each sample out, because it lies on the last edge "
        "of the bins",
    )  # fmt: skip
    # One more margin, just above all others, takes the place of the one that is left out.
    completed = [
        other.compute_binned_KL_div(np.append(a, max(a.max(), b.max()) * (1 + 1e-12)), b)
        for a, b in pairs
    ]
    yield Line(
        "KLOM, the largest margin counted", name, *differences(ours, completed),
        "theirs raises the share of Retrain to 1e-5 only where the unlearned models have one",
    )  # fmt: skip


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
        computed = (norm.weight.grad, norm.bias.grad, inputs.grad)
        return [g.double() for g in computed if g is not None]

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
    "RUM": rum,
    "data-unlearning-bench": data_unlearning_bench,
    **RECENT_SIDES,
}
HEAD = """# Parity with the authors' code

Do the functions of `coun` give the numbers of the authors' code? They do, up to rounding, except
where the last column of the table says why they differ on purpose.

Both were run on the same logits, weights and signals: a small `cnn` on 600 digits, random
embeddings of 64 x 32, 8 shadow models, and margins of 100 unlearned models and 100 Retrains.
Methods are compared by the weights that they give, those of 2024 and 2025 with the statistics of
BatchNorm as well: where batches are drawn, both get the same batches in the same order. The table
has the largest absolute difference, and the same divided by the largest absolute value. "Theirs" is
the authors' code. `python benchmarks/parity.py DIR` makes this page from checkouts of the
repositories; none of their code is part of this one.

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
                f"| {line.what} | {line.repository} | {line.absolute:.2g} | "
                f"{f'{line.relative:.1e}' if line.relative else '0'} | {line.words} |\n"
            )
        commits += f"| {address} | `{head(folder / name) or commit}` |\n"
    layouts = "".join(
        f"| {name} | {' | '.join(f'{error:.1e}' for error in errors)} |\n"
        for name, errors in memory_formats()
    )
    write_text(RESULTS / "parity.md", text + commits + LAYOUT + layouts)


def head(folder: Path) -> str:
    """The commit of a checkout; empty where it is a plain folder of files."""
    if not (folder / ".git").exists():
        return ""
    command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    main()
