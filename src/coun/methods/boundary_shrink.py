"""Boundary shrink: train each forget row to the class across its nearest boundary."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from coun.data import Data, Split
from coun.engine import Stage, Task
from coun.errors import CounError
from coun.models import Classifier
from coun.objectives import BatchContext, Objective
from coun.plans.forget_only import ForgetOnly
from coun.plans.method import FROZEN, LearningRate, WeightDecay


@dataclass(frozen=True, config=FROZEN)
class BoundaryShrink(ForgetOnly):
    """Train forget rows to the class that a small attack moves them to (Boundary shrink, BS).

    A small attack shows which class is nearest to each forget row, and the model learns that
    class for it, so the decision boundary moves over the row. The labels are computed once
    before training, on images that are not augmented.

    Formula: L = CE(forget, y'), where y' is the Original's label at x + eps * sign(grad CE), FGSM.
    Cost: one forward and one backward pass of every forget row in each epoch, and once for the
        attack.
    Limits: meant for whole classes; for random rows its settings hardly have an effect. Where the
        attack fails the label stays the same, and training teaches it again; the name of the stage
        says how many labels changed. Texts are refused, because token ids have no gradient.
    Source: Chen et al., CVPR 2023; settings of its code (eps 0.1, SGD with momentum 0.9 and without
        weight decay, learning rate 1e-5, 10 epochs).
    Differences: the attack changes pixels: uint8 images in units of 0..1, clamped and rounded to
        whole pixel values; float images in their own units. The authors' code attacks each
        augmented batch anew and undoes a normalisation with a mistyped mean.
    """

    name: ClassVar[str] = "boundary_shrink"
    source: ClassVar[str] = "Boundary Unlearning, Chen et al., CVPR 2023"
    changes_inputs: ClassVar[bool] = True

    lr: LearningRate = Field(1e-5)
    weight_decay: WeightDecay = Field(0.0)
    eps: float = Field(0.1, ge=0, description="Size of the attack, for pixels in 0..1.")

    def check(self, classifier: Classifier, data: Data, split: Split | None) -> None:
        super().check(classifier, data, split)
        if data.input_shape != data.shape:
            raise CounError(
                f"the views turn images {tuple(data.shape)} into {tuple(data.input_shape)}; "
                "expected views that keep the shape, because boundary_shrink attacks pixels"
            )

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        true = task.data.train.labels.cpu()[task.indices("forget")]
        nearest = nearest_labels(task, self.eps)

        def term(context: BatchContext) -> Tensor:
            logits = context.outputs("forget").logits
            return F.cross_entropy(logits, nearest[context.slots("forget")].to(logits.device))

        moved = int((nearest != true).sum())
        name = f"shrink to the nearest boundary, the attack moved {moved} of {len(true)}"
        yield self.fit_forget(Objective.of(term), name=name)


def nearest_labels(task: Task, eps: float, *, batch: int = 256) -> Tensor:
    """Predict the class of each forget row after an attack of size *eps*.

    The views must keep the shape of an image, because the attack needs one gradient per pixel.

    Returns: (N,) int64 on the CPU, the predictions of the model in eval mode.
    """
    model, source, evaluate = task.teacher(), task.source("forget"), task.data.views.evaluate
    predictions = []
    for slots in torch.split(torch.arange(len(source)), batch):
        slots = slots.to(source.labels.device)
        images, labels = source.fetch(slots).to(task.device), source.labels[slots].to(task.device)
        x = evaluate(images).detach().requires_grad_()
        task.charge(len(slots), grad=True)
        (gradient,) = torch.autograd.grad(F.cross_entropy(model(x).logits, labels), x)
        # Normalising divides by a positive number, so the sign is that of the pixels' gradient.
        scale = 255 if images.dtype == torch.uint8 else 1
        moved = images.float() + scale * eps * gradient.sign()
        if scale == 255:
            moved = moved.round().clamp(0, 255).to(torch.uint8)
        task.charge(len(slots), grad=False)
        with torch.no_grad():
            predictions.append(model(evaluate(moved)).logits.argmax(1).cpu())
    return torch.cat(predictions)
