"""The loss of Contrastive Unlearning: forget features towards other classes."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from coun.objectives.contrastive.embeddings import raise_precision, unit_rows

Weighting = Literal["correct", "reference"]


def push_loss(
    forget: Tensor,
    retain: Tensor,
    own: Tensor,
    other: Tensor,
    *,
    temperature: float,
    weighting: Weighting = "correct",
) -> Tensor:
    """Mean over forget rows u of log sum_P exp(u.r / tau) - mean_Q u.r / tau, nats.

    Args:
        forget, retain: features (N, D) and (M, D), any scale; normalised here.
        own, other: their labels, (N,) and (M,).
        weighting: "reference" multiplies the logarithm by M / |Q|, after u.r / tau was lowered
            by its largest value over r.

    P are the retain rows of u's class, Q the others. Where one of them is empty, its part is 0.

    Source: Lee et al., IJCAI 2025. Their code subtracts the logarithm once a column before it
        divides by |Q| ("reference"), so that their shift by the largest value, for safety, no
        longer cancels; an empty P gives them log 0, except for class requests.
    """
    u, r = (unit_rows(x) for x in raise_precision(forget, retain))
    same = own[:, None] == other
    near, far = same.sum(1), (~same).sum(1)
    dots = u @ r.T / temperature
    if weighting == "reference":
        dots = dots - dots.detach().amax(1, keepdim=True)
    pull = dots.masked_fill(same, 0.0).sum(1) / far.clamp(min=1)
    hidden = ~same & (near > 0)[:, None]  # a row hidden whole would have no gradient but NaN
    push = dots.masked_fill(hidden, -torch.inf).logsumexp(1) * (near > 0)
    if weighting == "reference":
        push = push * len(r) / far.clamp(min=1)
    return (push - pull).mean()
