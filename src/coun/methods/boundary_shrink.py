"""Boundary shrink: teach each forget sample the class across its nearest boundary."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from coun.engine import Fit, Phase, Stage, Task
from coun.errors import CounError
from coun.objectives import BatchContext, Objective
from coun.plans.method import FROZEN, Positive, Training


@dataclass(frozen=True, config=FROZEN)
class BoundaryShrink(Training):
    """Train forget samples to the class that a small attack moves them to (Boundary shrink).

    The labels are those of the original at x + eps * sign(grad CE), FGSM, found once before
    training on images that are not augmented. The step is taken on pixels: of uint8 images in
    units of 0..1, clamped and rounded to whole pixels; of float images in their own units. Where
    the attack fails the label stays and the step teaches it again: the stage's name counts.

    Source: Chen et al., CVPR 2023; settings of its code (eps 0.1, SGD 0.9 without decay, lr
    1e-5, 10 epochs), which attacks each augmented batch anew and undoes a normalisation with a
    mistyped mean. Meant for whole classes.
    """

    name: ClassVar[str] = "boundary_shrink"
    source: ClassVar[str] = "Boundary Unlearning, Chen et al., CVPR 2023"
    reads: ClassVar[frozenset[str]] = frozenset({"forget"})

    epochs: Positive | None = Field(10, description="passes over the forget set")
    batch_size: Positive | None = Field(
        None, description="forget images an update; open: the original's"
    )
    lr: float = Field(1e-5, gt=0, description="peak learning rate")
    schedule: Literal["cosine", "multistep", "constant"] = Field("constant", description="of lr")
    weight_decay: float = Field(0.0, ge=0, description="on all parameters")
    eps: float = Field(0.1, ge=0, description="size of the attack, in pixels of 0..1")

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        epochs, size = self.budget()
        own = task.data.train.labels.cpu()[task.rows("forget")]
        found = nearest_labels(task, self.eps)

        def term(context: BatchContext) -> Tensor:
            out = context.outputs("forget")
            return F.cross_entropy(out.logits, found[context.rows("forget")].to(out.logits.device))

        moved = int((found != own).sum())
        name = f"shrink to the nearest boundary, the attack moved {moved} of {len(own)}"
        phase = Phase(Objective.of(term), {"forget": size})
        yield Fit((phase,), epochs, self.optimization(), name)


def nearest_labels(task: Task, eps: float, *, batch: int = 256) -> Tensor:
    """What the model, in eval mode, says of each attacked forget row, (N,) int64 on the CPU.

    Raises: CounError if the views change an image's shape: a step on pixels needs the same.
    """
    model, source, evaluate = task.teacher(), task.source("forget"), task.data.views.evaluate
    found = []
    for rows in torch.split(torch.arange(len(source)), batch):
        rows = rows.to(source.labels.device)
        images, labels = source.fetch(rows).to(task.device), source.labels[rows].to(task.device)
        x = evaluate(images).detach().requires_grad_()
        if x.shape != images.shape:
            raise CounError(
                f"the views turn images {tuple(images.shape[1:])} into {tuple(x.shape[1:])}; "
                "expected one shape, as boundary_shrink moves pixels"
            )
        task.charge(len(rows), grad=True)
        (slope,) = torch.autograd.grad(F.cross_entropy(model(x).logits, labels), x)
        # Normalising divides by a positive number, so the sign is that of the pixels' gradient.
        scale = 255 if images.dtype == torch.uint8 else 1
        moved = images.float() + scale * eps * slope.sign()
        if scale == 255:
            moved = moved.round().clamp(0, 255).to(torch.uint8)
        task.charge(len(rows), grad=False)
        with torch.no_grad():
            found.append(model(evaluate(moved)).logits.argmax(1).cpu())
    return torch.cat(found)
