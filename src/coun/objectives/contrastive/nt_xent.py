"""NT-Xent and its relatives: one positive against all other rows, or against a queue."""

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
    """Compute NT-Xent: each of the 2N rows must find its other view among the 2N - 1 other rows.

    Args:
        a, b: embeddings of the two views, (N, D), of any scale; they are normalised here.
        temperature: tau > 0.

    Returns: a scalar, nats, the mean over 2N rows; 0 for N = 1, ln(2N - 1) if all embeddings
        are equal.

    Raises: ValueError if the shapes differ, are not (N, D), or temperature <= 0.

    Source: SimCLR (Chen et al., ICML 2020), Eq. 1; tau 0.5 is the default of lightly.

    >>> views = torch.eye(2)
    >>> round(nt_xent_loss(views, views, temperature=1.0).item(), 4)
    0.5514
    """
    check_pair(a, b)
    check_temperatures(temperature=temperature)
    similarity = all_pairs(a, b, temperature)
    partner = torch.arange(len(similarity), device=a.device).roll(len(a))
    return F.cross_entropy(similarity, partner)


def all_pairs(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    """Return the cosines over tau of the 2N rows of both views, (2N, 2N), diagonal -inf."""
    rows = unit_rows(torch.cat(raise_precision(a, b)))
    return (rows @ rows.T / temperature).fill_diagonal_(-math.inf)


def debiased_loss(a: Tensor, b: Tensor, *, temperature: float, prior: float) -> Tensor:
    """Compute NT-Xent with a correction for negatives that share the class of the anchor.

    The sum over negatives, Sum, becomes
    max((Sum - prior (2N - 2) e^positive) / (1 - prior), (2N - 2) e^(-1 / tau)).

    Args:
        a, b: embeddings of the two views, (N, D), of any scale; they are normalised here.
        temperature: tau > 0.
        prior: tau+, the probability that a negative has the class of the anchor, in [0, 1); with
            0 the loss is NT-Xent.

    Returns: a scalar, nats, the mean over 2N rows; 0 for N = 1.

    Raises: ValueError if the shapes differ, are not (N, D), temperature <= 0, or prior is
        outside [0, 1).

    Source: Debiased Contrastive Learning (Chuang et al., NeurIPS 2020) with one
        positive; tau 0.5, tau+ 0.1. lightly's DCLLoss is another loss. The authors' code
        exponentiates directly; here the maximum of each row is subtracted first.

    >>> views = torch.eye(2)
    >>> round(debiased_loss(views, views, temperature=1.0, prior=0.0).item(), 4)
    0.5514
    """
    check_pair(a, b)
    check_temperatures(temperature=temperature)
    if not 0 <= prior < 1:
        raise ValueError(f"prior is {prior}; expected a probability in [0, 1)")
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
    """Compute InfoNCE of queries against their own key and a queue of earlier keys.

    Args:
        query: embeddings of one view, (N, D), of any scale; all inputs are normalised here.
        key: embeddings of the other view by the slowly moving encoder, (N, D); a constant.
        queue: keys of earlier batches, (M, D), one per row; a constant. The caller updates it.
        temperature: tau > 0.

    Returns: a scalar, nats, the mean over N; 0 for an empty queue.

    Raises: ValueError if query and key differ in shape or are not (N, D), queue is not
        (M, D), or temperature <= 0.

    Source: MoCo (He et al., CVPR 2020), Eq. 1 and Algorithm 1; tau 0.07, M 65536. The
        authors' queue is (D, M), with columns of length 1.

    >>> query = torch.eye(2)
    >>> moco_loss(query, query, torch.empty(0, 2), temperature=1.0).item()
    0.0
    """
    check_pair(query, key)
    check_temperatures(temperature=temperature)
    if queue.ndim != 2 or queue.shape[1] != query.shape[1]:
        raise ValueError(
            f"queue has shape {tuple(queue.shape)}; expected (M, {query.shape[1]}), as the views"
        )
    query, key, queue = (unit_rows(x) for x in raise_precision(query, key.detach(), queue.detach()))
    positive = (query * key).sum(1, keepdim=True)
    logits = torch.cat([positive, query @ queue.T], 1) / temperature
    return F.cross_entropy(logits, torch.zeros(len(query), dtype=torch.long, device=query.device))
