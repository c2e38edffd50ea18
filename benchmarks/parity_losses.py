"""The comparisons of parity.py with loss functions: values and gradients."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import MagicMock

import torch
from parity_common import Case, Line, differences, module_of, part_of
from torch import Tensor
from torch.nn import functional as F

from coun.objectives.contrastive.nt_xent import moco_loss, nt_xent_loss
from coun.objectives.contrastive.redundancy import barlow_twins_loss, vicreg_loss
from coun.objectives.contrastive.relational import co2_loss
from coun.objectives.contrastive.repulsion import contrastive_unlearning_loss
from coun.objectives.contrastive.supcon import supcon_loss
from coun.objectives.distillation import kl_loss


def embeddings() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Two views of 64 embeddings, and two lists of labels."""
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 64, 32, dtype=torch.float64, generator=generator)
    return a, a + 0.5 * b, *torch.randint(4, (2, 64), generator=generator)


def supcon(folder: Path, c: Case) -> Iterator[Line]:
    a, b, labels, _ = embeddings()
    loss = module_of(folder / "losses.py").SupConLoss(0.1, base_temperature=0.07)
    theirs = loss(torch.stack([F.normalize(x, dim=1) for x in (a, b)], 1), labels)
    ours = supcon_loss(a, b, labels, temperature=0.1, base_temperature=0.07)
    yield Line("SupCon loss, `base_temperature=0.07`", "SupContrast", *differences(ours, theirs))


def contrastive_unlearning(folder: Path, c: Case) -> Iterator[Line]:
    name = "Contrastive-Unlearning"
    u, r, of_u, of_r = embeddings()
    script = part_of(
        folder / "core/trainer/unlearn/unlearn.py", {"torch": torch, "F": F}, "Loss_v1"
    )
    setting = types.SimpleNamespace(
        temperature=0.7, base_temperature=0.7, unlearn_type="random_sample"
    )
    unit = [F.normalize(x, dim=1) for x in (u, r)]
    theirs = script.Loss_v1(setting, None, None, *unit, of_u, of_r)
    for weighting in ("reference", "correct"):
        ours = contrastive_unlearning_loss(
            u, r, of_u, of_r, temperature=0.7, weighting=weighting  # type: ignore[arg-type]
        )  # fmt: skip
        words = "theirs subtracts the logarithm once for each column" * (weighting == "correct")
        yield Line(
            f"Contrastive Unlearning: loss, `{weighting}`", name, *differences(ours, theirs), words
        )


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


def scrub(folder: Path, c: Case) -> Iterator[Line]:
    loss = module_of(folder / "thirdparty/repdistiller/distiller_zoo/KD.py").DistillKL(4.0)
    student, teacher = c.logits["forget"].double(), c.logits["forget"].roll(1, 0).double()
    ours = 16.0 * kl_loss(student, teacher, temperature=4.0)
    yield Line("SCRUB: distillation loss", "SCRUB", *differences(ours, loss(student, teacher)))
