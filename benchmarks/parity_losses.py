"""The comparisons of parity.py with loss functions: values and gradients."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal
from unittest.mock import MagicMock, patch

import numpy as np
import torch
from parity_common import Case, Line, differences, method_of, module_of, part_of
from torch import Tensor, nn
from torch.nn import functional as F

from coun.objectives.contrastive.cross_view import info_nce_loss
from coun.objectives.contrastive.nt_xent import debiased_loss, moco_loss, nt_xent_loss
from coun.objectives.contrastive.redundancy import barlow_twins_loss, vicreg_loss
from coun.objectives.contrastive.relational import co2_loss, sce_loss
from coun.objectives.contrastive.repulsion import contrastive_unlearning_loss
from coun.objectives.contrastive.supcon import supcon_loss
from coun.objectives.distillation import kl_loss
from coun.objectives.laf import align_loss


def embeddings() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Two views of 64 embeddings, and two lists of labels."""
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 64, 32, dtype=torch.float64, generator=generator)
    return a, a + 0.5 * b, *torch.randint(4, (2, 64), generator=generator)


def compared(
    what: str,
    name: str,
    ours: Callable[..., Tensor],
    theirs: Callable[..., Tensor],
    inputs: tuple[Tensor, ...],
    words: str = "",
) -> Line:
    """Compare two losses of the same inputs, and their gradients with respect to these."""
    sides = []
    for loss in (ours, theirs):
        leaves = [x.detach().clone().requires_grad_(True) for x in inputs]
        value = loss(*leaves)
        value.backward()  # type: ignore[no-untyped-call]
        parts = [value.detach().reshape(1)]
        parts += [(torch.zeros_like(x) if x.grad is None else x.grad).flatten() for x in leaves]
        sides.append(torch.cat(parts))
    return Line(f"{what}: loss and gradient", name, *differences(*sides), words)


def supcon(folder: Path, c: Case) -> Iterator[Line]:
    a, b, labels, _ = embeddings()
    loss = module_of(folder / "losses.py").SupConLoss(0.1, base_temperature=0.07)
    yield compared(
        "SupCon, `base_temperature=0.07`", "SupContrast",
        lambda a, b: supcon_loss(a, b, labels, temperature=0.1, base_temperature=0.07),
        lambda a, b: loss(torch.stack([F.normalize(x, dim=1) for x in (a, b)], 1), labels),
        (a, b),
    )  # fmt: skip


def contrastive_unlearning(folder: Path, c: Case) -> Iterator[Line]:
    u, r, of_u, of_r = embeddings()
    names = {"torch": torch, "F": F}
    script = part_of(folder / "core/trainer/unlearn/unlearn.py", names, "Loss_v1")
    setting = types.SimpleNamespace(
        temperature=0.7, base_temperature=0.7, unlearn_type="random_sample"
    )
    variants: tuple[tuple[Literal["reference", "correct"], str], ...] = (
        ("reference", ""), ("correct", "theirs subtracts the logarithm once for each column"),
    )  # fmt: skip
    for weighting, words in variants:

        def ours(u: Tensor, r: Tensor, weighting: Any = weighting) -> Tensor:
            return contrastive_unlearning_loss(
                u, r, of_u, of_r, temperature=0.7, weighting=weighting
            )

        def theirs(u: Tensor, r: Tensor) -> Tensor:
            unit = [F.normalize(x, dim=1) for x in (u, r)]
            loss: Tensor = script.Loss_v1(setting, None, None, *unit, of_u, of_r)
            return loss

        what = f"Contrastive Unlearning, `{weighting}`"
        yield compared(what, "Contrastive-Unlearning", ours, theirs, (u, r), words)


def debiased(folder: Path, c: Case) -> Iterator[Line]:
    """Their training loop, for one step of a network that holds the embeddings."""
    a, b, _, _ = embeddings()

    def theirs(a: Tensor, b: Tensor) -> Tensor:
        names: dict[str, Any] = {
            "torch": torch, "np": np, "tqdm": ListOfBatches, "batch_size": len(a), "epoch": 1,
            "epochs": 1,
        }  # fmt: skip
        script = part_of(folder / "main.py", names, "get_negative_mask", "train")
        views = iter([a, b])
        stepping = types.SimpleNamespace(zero_grad=lambda: None, step=lambda: None)
        net = Views(lambda _: (None, F.normalize(next(views), dim=1)))
        backward, losses = Tensor.backward, []
        with (
            patch.object(Tensor, "backward", lambda loss: losses.append(loss)),
            patch.object(Tensor, "cuda", lambda self, **options: self),
        ):
            script.train(net, [(a, b, None)], stepping, 0.5, True, 0.1)
        assert Tensor.backward is backward
        loss: Tensor = losses[0]
        return loss

    yield compared(
        "Debiased, tau+ 0.1", "DCL",
        lambda a, b: debiased_loss(a, b, temperature=0.5, prior=0.1), theirs, (a, b),
    )  # fmt: skip


class ListOfBatches(list[Any]):
    """Stands for a progress bar."""

    def set_description(self, words: str) -> None:
        """Say nothing."""


class Views(nn.Module):
    """A network that answers with *result*."""

    def __init__(self, result: Callable[[Any], Any]) -> None:
        super().__init__()
        self.result = result

    def forward(self, x: Tensor) -> Any:
        return self.result(x)


def eztorch(folder: Path, c: Case) -> Iterator[Line]:
    """SCE with the keys of the batch, in the later code of its authors."""
    a, b, _, _ = embeddings()
    script = module_of(folder / "eztorch/losses/sce_loss.py")

    def theirs(a: Tensor, b: Tensor) -> Tensor:
        q, k = F.normalize(a, dim=1), F.normalize(b.detach(), dim=1)
        mask = script.compute_sce_mask(len(q), 0)
        loss: Tensor = script.compute_sce_loss(q, k, k, True, None, mask, 0.5, 0.1, 0.07)
        return loss

    yield compared("SCE", "eztorch", sce, theirs, (a, b))


def sce(a: Tensor, b: Tensor) -> Tensor:
    return sce_loss(a, b, temperature=0.1, target_temperature=0.07, positive=0.5)


def sce_queue(folder: Path, c: Case) -> Iterator[Line]:
    """SCE with a queue, which here holds the other keys of the batch."""
    a, b, _, _ = embeddings()
    names = {"torch": torch, "nn": nn, "Tensor": Tensor, "Dict": dict}
    script = part_of(folder / "sce/models/siamese/sce.py", names, "compute_loss")

    def theirs(a: Tensor, b: Tensor) -> Tensor:
        q, k, losses = F.normalize(a, dim=1), F.normalize(b.detach(), dim=1), []
        for i in range(len(q)):
            model = types.SimpleNamespace(
                device="cpu", temp=0.1, temp_m=0.07, coeff=0.5,
                queue=k[torch.arange(len(k)) != i].T,
            )  # fmt: skip
            losses.append(script.compute_loss(model, q[i : i + 1], k[i : i + 1]))
        return torch.stack(losses).mean()

    words = "theirs gives the similarity of a sample to itself the logit 0 and does not mask it"
    yield compared("SCE, with the queue of its first code", "SCE", sce, theirs, (a, b), words)


def same(x: Tensor) -> Tensor:
    return x


def barlowtwins(folder: Path, c: Case) -> Iterator[Line]:
    a, b, _, _ = embeddings()
    names: dict[str, Any] = {"torch": torch}
    names |= vars(part_of(folder / "main.py", names, "off_diagonal"))
    forward = method_of(folder / "main.py", "BarlowTwins", "forward", names)
    arguments = types.SimpleNamespace(batch_size=len(a), lambd=0.0051)
    model = types.SimpleNamespace(
        projector=same, backbone=same, args=arguments,
        bn=nn.BatchNorm1d(a.shape[1], affine=False).double(),
    )  # fmt: skip

    def theirs(a: Tensor, b: Tensor) -> Tensor:
        with patch.object(torch.distributed, "all_reduce", lambda x: None):
            loss: Tensor = forward(model, a, b)
        return loss

    yield compared(
        "Barlow Twins", "barlowtwins",
        lambda a, b: barlow_twins_loss(a, b, off_diagonal=0.0051), theirs, (a, b),
    )  # fmt: skip


def vicreg(a: Tensor, b: Tensor) -> Tensor:
    return vicreg_loss(a, b, invariance=25.0, variance=25.0, covariance=1.0)


def vicreg_code(folder: Path, c: Case) -> Iterator[Line]:
    a, b, _, _ = embeddings()
    names: dict[str, Any] = {"torch": torch, "F": F}
    names |= vars(part_of(folder / "main_vicreg.py", names, "off_diagonal"))
    names["FullGatherLayer"] = types.SimpleNamespace(apply=lambda x: (x,))
    forward = method_of(folder / "main_vicreg.py", "VICReg", "forward", names)
    arguments = types.SimpleNamespace(
        batch_size=len(a), sim_coeff=25.0, std_coeff=25.0, cov_coeff=1.0
    )
    model = types.SimpleNamespace(
        projector=same, backbone=same, args=arguments, num_features=a.shape[1]
    )
    yield compared("VICReg", "vicreg", vicreg, lambda a, b: forward(model, a, b), (a, b))


def solo_learn(folder: Path, c: Case) -> Iterator[Line]:
    a, b, _, _ = embeddings()
    names: dict[str, Any] = {"torch": torch, "F": F, "gather": same, "get_rank": lambda: 0}
    names["dist"] = types.SimpleNamespace(is_available=lambda: False)
    part = folder / "solo/losses"
    simclr = part_of(part / "simclr.py", names, "simclr_loss_func").simclr_loss_func
    index = torch.arange(len(a)).repeat(2)
    yield compared(
        "NT-Xent", "solo-learn", lambda a, b: nt_xent_loss(a, b, temperature=0.1),
        lambda a, b: simclr(torch.cat([a, b]), index, 0.1), (a, b),
    )  # fmt: skip
    wanted = ("invariance_loss", "variance_loss", "covariance_loss", "vicreg_loss_func")
    other = part_of(part / "vicreg.py", names, *wanted).vicreg_loss_func
    yield compared("VICReg", "solo-learn", vicreg, other, (a, b), "theirs adds the variance terms")
    moco = part_of(part / "mocov2plus.py", names, "mocov2plus_loss_func").mocov2plus_loss_func
    queue = F.normalize(torch.randn(128, 32, generator=torch.Generator().manual_seed(1)), dim=1)
    yield compared(
        "MoCo with a queue", "solo-learn",
        lambda a, b: moco_loss(a, b, queue.double(), temperature=0.1),
        lambda a, b: moco(
            F.normalize(a, dim=1), F.normalize(b.detach(), dim=1), queue.double().T, 0.1
        ),
        (a, b),
    )  # fmt: skip


def open_clip(folder: Path, c: Case) -> Iterator[Line]:
    """InfoNCE between two views, which is the loss of CLIP."""
    a, b, _, _ = embeddings()
    clip = module_of(folder / "src/open_clip/loss.py").ClipLoss()
    yield compared(
        "InfoNCE of CoUn, `directions=mean`", "open_clip",
        lambda a, b: info_nce_loss(a, b, temperature=0.1, directions="mean"),
        lambda a, b: clip(F.normalize(a, dim=1), F.normalize(b, dim=1), 10.0), (a, b),
    )  # fmt: skip


def laf(folder: Path, c: Case) -> Iterator[Line]:
    """The alignment of LAF, which its code sums over retain rows."""
    a, b, _, _ = embeddings()
    old_a, old_b = a + 0.3 * a.roll(1, 0), b + 0.3 * b.roll(1, 0)
    names = {"torch": torch, "nn": nn}
    script = part_of(folder / "VUnlearning.py", names, "extractor_loss_functioncosine")

    def ours(a: Tensor, b: Tensor) -> Tensor:
        retain, forget = 1 - F.cosine_similarity(a, old_a), 1 - F.cosine_similarity(b, old_b)
        return align_loss(retain, forget, temperature=20.0)

    def theirs(a: Tensor, b: Tensor) -> Tensor:
        with patch.object(Tensor, "cuda", lambda self: self):
            loss: Tensor = script.extractor_loss_functioncosine(a, old_a, b, old_b, 20.0)
        return loss / len(a)

    words = "theirs divided by the number of retain rows"
    yield compared("LAF, alignment", "LAF", ours, theirs, (a, b), words)


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

        a, b, _, _ = embeddings()

        def nt_xent(a: Tensor, b: Tensor) -> Tensor:
            return nt_xent_loss(a, b, temperature=0.5)

        def barlow(a: Tensor, b: Tensor) -> Tensor:
            return barlow_twins_loss(a, b, off_diagonal=0.005)

        for what, ours, theirs in (
            ("NT-Xent", nt_xent, NTXentLoss(temperature=0.5)),
            ("Barlow Twins", barlow, BarlowTwinsLoss(0.005)),
            ("VICReg", vicreg, VICRegLoss()),
        ):
            yield compared(what, "lightly", ours, theirs, (a, b))
        # lightly returns no gradient of CO2.
        co2 = CO2Regularizer(alpha=1.0, t_consistency=0.05)(a, b)
        ours = co2_loss(a, b, temperature=0.05)
        yield Line("CO2 loss", "lightly", *differences(ours, co2))
        torch.manual_seed(0)  # of the memory bank
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
