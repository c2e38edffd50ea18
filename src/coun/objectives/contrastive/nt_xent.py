"""NT-Xent and its relatives: one positive against the other rows, or against a queue."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from coun.objectives.contrastive.embeddings import (
    check_pair,
    check_temperatures,
    raise_precision,
    unit_rows,
)


def nt_xent_loss(a: Tensor, b: Tensor, *, temperature: float) -> Tensor:
    """NT-Xent: each of the 2N rows must find its other view among all 2N - 1 others.

    Args:
        a, b: embeddings of the two views, (N, D), any scale; normalised here.
        temperature: tau > 0.

    Returns: scalar, nats, the mean over 2N rows; 0 for N = 1, ln(2N - 1) when all
        embeddings coincide.

    Raises: ValueError if the shapes differ, are not (N, D), or temperature <= 0.

    Source: SimCLR (Chen et al., ICML 2020), Eq. 1; tau 0.5 is lightly's default.
    """
    check_pair(a, b)
    check_temperatures(temperature=temperature)
    similarity = all_pairs(a, b, temperature)
    partner = torch.arange(len(similarity), device=a.device).roll(len(a))
    return F.cross_entropy(similarity, partner)


def all_pairs(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    """Cosines over tau of the 2N rows of both views, (2N, 2N), with -inf on the diagonal."""
    rows = unit_rows(torch.cat(raise_precision(a, b)))
    return (rows @ rows.T / temperature).fill_diagonal_(-math.inf)


def debiased_loss(a: Tensor, b: Tensor, *, temperature: float, prior: float) -> Tensor:
    """NT-Xent whose negatives are corrected for those that share the anchor's class.

    The sum over negatives, Sum, becomes
    max((Sum - prior (2N - 2) e^positive) / (1 - prior), (2N - 2) e^(-1 / tau)).

    Args:
        a, b: embeddings of the two views, (N, D), any scale; normalised here.
        temperature: tau > 0.
        prior: tau+, the chance that a negative has the anchor's class, in [0, 1); 0 is
            NT-Xent.

    Returns: scalar, nats, the mean over 2N rows; 0 for N = 1.

    Raises: ValueError if the shapes differ, are not (N, D), temperature <= 0, or prior is
        outside [0, 1).

    Source: Debiased Contrastive Learning (Chuang et al., NeurIPS 2020) with one
        positive; tau 0.5, tau+ 0.1. Not lightly's DCLLoss, which is another loss. The
        authors' code exponentiates as is; here each row's maximum is subtracted first.
    """
    check_pair(a, b)
    check_temperatures(temperature=temperature)
    if not 0 <= prior < 1:
        raise ValueError(f"prior is {prior}; expected a chance in [0, 1)")
    similarity = all_pairs(a, b, temperature)
    row = torch.arange(len(similarity), device=a.device)
    partner = row.roll(len(a))
    top = similarity.detach().amax(1)
    shares = (similarity - top[:, None]).exp()
    positive = shares[row, partner]
    count = len(similarity) - 2
    negatives = shares.index_put((row, partner), shares.new_zeros(())).sum(1)
    corrected = (negatives - prior * count * positive) / (1 - prior)
    least = count * (-1 / temperature - top).exp()
    total = positive + torch.maximum(corrected, least)
    return (total.log() - (similarity[row, partner] - top)).mean()


def moco_loss(query: Tensor, key: Tensor, queue: Tensor, *, temperature: float) -> Tensor:
    """InfoNCE of queries against their own key and a queue of earlier keys.

    Args:
        query: embeddings of one view, (N, D), any scale; normalised here, like the rest.
        key: embeddings of the other view by the slowly moving encoder, (N, D); a constant.
        queue: keys of earlier batches, (M, D), one a row; a constant. The caller enqueues.
        temperature: tau > 0.

    Returns: scalar, nats, the mean over N; 0 for an empty queue.

    Raises: ValueError if query and key differ in shape or are not (N, D), queue is not
        (M, D), or temperature <= 0.

    Source: MoCo (He et al., CVPR 2020), Eq. 1 and Algorithm 1; tau 0.07, M 65536. The
        authors' queue is (D, M), of unit columns.
    """
    check_pair(query, key)
    check_temperatures(temperature=temperature)
    if queue.ndim != 2 or queue.shape[1] != query.shape[1]:
        raise ValueError(
            f"queue has shape {tuple(queue.shape)}; expected (M, {query.shape[1]}), as the views"
        )
    query, key, queue = (unit_rows(x) for x in raise_precision(query, key.detach(), queue.detach()))
    own = (query * key).sum(1, keepdim=True)
    logits = torch.cat([own, query @ queue.T], 1) / temperature
    return F.cross_entropy(logits, torch.zeros(len(query), dtype=torch.long, device=query.device))
