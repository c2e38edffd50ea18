"""InfoNCE across two views, CoUn's contrastive loss, and the term that feeds it."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from coun.objectives.context import BatchContext
from coun.objectives.contrastive.embeddings import (
    check_pair,
    check_temperatures,
    raise_precision,
)
from coun.objectives.objective import Objective

Directions = Literal["sum", "mean"]


def info_nce_loss(
    a: Tensor, b: Tensor, *, temperature: float, directions: Directions = "sum"
) -> Tensor:
    """Cross-view InfoNCE between two views of the same samples.

    Args:
        a, b: embeddings of the two views, (N, D), any scale; normalised here. Half
            precision is raised to float32, float64 is kept.
        temperature: tau > 0.
        directions: "sum" adds view 1 -> 2 and 2 -> 1; "mean" halves that.

    Returns: scalar, nats; 0 for N = 1 and for perfectly separated pairs, 2 ln N when all
        embeddings coincide.

    Raises: ValueError if the shapes differ, are not (N, D), or temperature <= 0.

    Source: CoUn (Khalil et al., NeurIPS 2025), Eq. 1-2 and Appendix B. Negatives are the
        other rows of the *other* view only, so this is not SimCLR's 2N-2 NT-Xent. The
        printed code sums the directions; it exponentiates without subtracting the maximum,
        which overflows at small tau, so here it is a log-sum-exp.
    """
    check_pair(a, b)
    check_temperatures(temperature=temperature)
    a, b = raise_precision(a, b)
    similarity = F.normalize(a, dim=1) @ F.normalize(b, dim=1).T / temperature
    positive = torch.arange(len(a), device=a.device)
    loss = F.cross_entropy(similarity, positive) + F.cross_entropy(similarity.T, positive)
    return loss if directions == "sum" else loss / 2


def info_nce(
    role: str = "retain",
    *,
    temperature: float,
    directions: Directions = "sum",
    second_view_gradient: bool = True,
) -> Objective:
    """`info_nce_loss` between the penultimate features of views 0 and 1 of *role*.

    Over data-parallel processes the negatives are the joint batch's.
    With `second_view_gradient=False` view 1 is a constant target: 4 forwards' worth of work
    a batch instead of 6, which is what the paper's cost column charges.
    """

    def term(context: BatchContext) -> Tensor:
        first = context.gather(context.outputs(role, 0).features)
        second = context.gather(context.outputs(role, 1, grad=second_view_gradient).features)
        return info_nce_loss(first, second, temperature=temperature, directions=directions)

    return Objective.of(term)
