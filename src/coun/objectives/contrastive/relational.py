"""Losses with soft targets: the relations between rows in the other view."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from coun.objectives.contrastive.embeddings import (
    check_pair,
    check_temperatures,
    raise_precision,
    unit_rows,
    zero_of,
)


def sce_loss(
    a: Tensor, b: Tensor, *, temperature: float, target_temperature: float, positive: float
) -> Tensor:
    """Compute SCE: InfoNCE from a to b, with a target that also covers rows similar in b.

    The target of row i is positive on i, plus (1 - positive) times a softmax over the other
    rows of b b^T / target_temperature.

    Args:
        a: embeddings of one view, (N, D), of any scale; they are normalised here.
        b: embeddings of the other view, (N, D), normalised here; a constant.
        temperature: tau > 0, of a b^T.
        target_temperature: tau_m > 0, of the target; smaller than tau, so that it is sharper.
        positive: lambda in [0, 1]; with 1 the loss is InfoNCE in one direction.

    Returns: a scalar, nats, the mean over N; 0 for N = 1.

    Raises: ValueError if the shapes differ, are not (N, D), a temperature is not above 0, or
        positive is outside [0, 1].

    Source: SCE (Denize et al., WACV 2023); tau 0.1, tau_m 0.05 to 0.07, lambda
        0.5, without the queue. Without a queue, the authors' code gives the similarity of a
        row to itself the logit 0, which leaks weight; here it is left out.

    >>> views = torch.eye(2)
    >>> round(sce_loss(views, views, temperature=1, target_temperature=1, positive=1).item(), 4)
    0.3133
    """
    check_pair(a, b)
    check_temperatures(temperature=temperature, target_temperature=target_temperature)
    if not 0 <= positive <= 1:
        raise ValueError(f"positive is {positive}; expected a weight in [0, 1]")
    a, b = raise_precision(a, b.detach())
    if len(a) == 1:
        return zero_of(a)  # The softmax over other rows would be empty.
    a, b = unit_rows(a), unit_rows(b)
    others = (b @ b.T / target_temperature).fill_diagonal_(-math.inf).softmax(1)
    target = (1 - positive) * others + positive * torch.eye(len(b), dtype=b.dtype, device=b.device)
    return -(target * (a @ b.T / temperature).log_softmax(1)).sum(1).mean()


def co2_loss(a: Tensor, b: Tensor, *, temperature: float) -> Tensor:
    """Compute CO2's consistency term: rows should have the same relations in both views.

    Half the symmetric Kullback-Leibler divergence between p_i, the softmax over j of
    a_i b_j / tau, and q_i, that of b_i a_j / tau; averaged over i. The candidates of each view
    are therefore all rows of the other view, including i, as in `info_nce_loss`.

    Args:
        a, b: embeddings of the two views, (N, D), of any scale; they are normalised here.
        temperature: tau > 0.

    Returns: a scalar, nats, at least 0; 0 for N = 1 and for identical views. It is meant to be
        added to InfoNCE, with weight alpha.

    Raises: ValueError if the shapes differ, are not (N, D), or temperature <= 0.

    Source: CO2 (Wei et al., ICLR 2021); tau 0.05, alpha 1. The paper's
        candidates are the negatives alone, from MoCo's queue. This is lightly's form without
        a queue; lightly returns no gradient, while here it flows through both distributions.

    >>> co2_loss(torch.eye(2), torch.eye(2), temperature=0.05).item()
    0.0
    """
    check_pair(a, b)
    check_temperatures(temperature=temperature)
    a, b = raise_precision(a, b)
    similarity = unit_rows(a) @ unit_rows(b).T / temperature
    p, q = similarity.log_softmax(1), similarity.T.log_softmax(1)
    # KL(p|q) + KL(q|p) in one sum.
    return ((p.exp() - q.exp()) * (p - q)).sum(1).mean() / 2
