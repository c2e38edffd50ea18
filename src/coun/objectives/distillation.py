"""Divergence of the outputs of a student from those of a teacher."""

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
    """Compute KL(softmax(teacher / T) || softmax(student / T)) in nats, without a factor T^2.

    Args:
        student, teacher: logits (N, K).
        temperature: T > 0.
        reduction: "batchmean" divides the sum by N; "mean" divides it by N * K, which is the
            default of `F.kl_div`.

    >>> import torch
    >>> kl_loss(torch.zeros(1, 2), torch.tensor([[0.0, 100.0]]), temperature=1.0).item()
    0.6931471824645996
    """
    s, t = (F.log_softmax(x / temperature, dim=1) for x in (student, teacher))
    loss = F.kl_div(s, t, reduction="batchmean", log_target=True)
    return loss / student.shape[1] if reduction == "mean" else loss


def distil(role: str, teacher: Classifier, temperature: float) -> Objective:
    """Return the objective T^2 * `kl_loss` of view 0 of *role* (Hinton et al., 2015)."""

    def term(context: BatchContext) -> Tensor:
        student, target = (context.outputs(role, model=m).logits for m in (None, teacher))
        return temperature**2 * kl_loss(student, target, temperature=temperature)

    return Objective.of(term)
