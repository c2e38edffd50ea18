"""InfoNCE across two views, which is the contrastive loss of CoUn, and its objective."""

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
    """Cross-view InfoNCE between two views of the same rows.

    Args:
        a, b: embeddings of the two views, (N, D), of any scale; they are normalised here. Half
            precision is raised to float32, float64 is kept.
        temperature: tau > 0.
        directions: "sum" adds the directions view 1 to 2 and view 2 to 1; "mean" averages them.

    Returns: a scalar, nats; 0 for N = 1 and for perfectly separated pairs, 2 ln N if all
        embeddings are equal.

    Raises: ValueError if the shapes differ, are not (N, D), or temperature <= 0.

    Source: CoUn (Khalil et al., NeurIPS 2025), Eq. 1-2 and Appendix B. Negatives are the
        other rows of the *other* view only, so this is not SimCLR's NT-Xent with its 2N-2
        negatives. The printed code adds the directions. It exponentiates without subtracting the
        maximum, which overflows at a small tau; here a log-sum-exp is used.

    >>> views = torch.eye(2)
    >>> round(info_nce_loss(views, views, temperature=1.0).item(), 4)
    0.6265
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
    """Return the objective `info_nce_loss` of the penultimate features of two views.

    With data-parallel processes the negatives are those of the joint batch.

    Args:
        role: whose views 0 and 1 are compared.
        temperature, directions: as in `info_nce_loss`.
        second_view_gradient: if false, view 1 is a constant target. A step then costs 4 forward
            passes instead of 6, which is what the cost column of the paper counts.

    >>> len(info_nce(temperature=0.1).parts)
    1
    """

    def term(context: BatchContext) -> Tensor:
        first = context.gather(context.outputs(role, 0).features)
        second = context.gather(context.outputs(role, 1, grad=second_view_gradient).features)
        return info_nce_loss(first, second, temperature=temperature, directions=directions)

    return Objective.of(term)
