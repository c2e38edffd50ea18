"""Divergence of a student's outputs from a teacher's."""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from coun.models import Classifier
from coun.objectives.context import BatchContext
from coun.objectives.objective import Objective

Reduction = Literal["batchmean", "mean"]


def kl_loss(
    student: Tensor, teacher: Tensor, *, temperature: float, reduction: Reduction = "batchmean"
) -> Tensor:
    """KL(softmax(teacher / T) || softmax(student / T)) of logits (N, K), nats.

    "batchmean" divides the sum by N; "mean" by N * K, as `F.kl_div` does unless told. There is
    no factor T^2.
    """
    s, t = (F.log_softmax(x / temperature, dim=1) for x in (student, teacher))
    loss = F.kl_div(s, t, reduction="batchmean", log_target=True)
    return loss / student.shape[1] if reduction == "mean" else loss


def distil(role: str, teacher: Classifier, temperature: float) -> Objective:
    """T^2 times the mean `kl_loss` of view 0 of *role* (Hinton et al., 2015)."""

    def term(context: BatchContext) -> Tensor:
        own, its = context.outputs(role), context.outputs(role, model=teacher)
        return temperature**2 * kl_loss(own.logits, its.logits, temperature=temperature)

    return Objective.of(term)
