"""The loss of Contrastive Unlearning: forget features move towards other classes."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from coun.objectives.contrastive.embeddings import raise_precision, unit_rows

Weighting = Literal["correct", "reference"]


def contrastive_unlearning_loss(
    forget: Tensor,
    retain: Tensor,
    forget_labels: Tensor,
    retain_labels: Tensor,
    *,
    temperature: float,
    weighting: Weighting = "correct",
) -> Tensor:
    """Compute the loss that moves forget features u to retain features r of other classes.

    It is the mean over u of log sum_P exp(u.r / tau) - mean_Q u.r / tau, where P are the retain
    rows of u's class and Q the others. If P or Q is empty, its part is 0.

    Args:
        forget, retain: features (N, D) and (M, D), of any scale; they are normalised here.
        forget_labels, retain_labels: their labels, (N,) and (M,).
        temperature: tau > 0.
        weighting: "correct" as above; "reference" multiplies the logarithm by M / |Q|, after
            u.r / tau was lowered by its largest value over r.

    Returns: a scalar, nats.

    Source: Lee et al., IJCAI 2025. Their code subtracts the logarithm once per column before it
        divides by |Q| ("reference"), so that their shift by the largest value, which is meant for
        numerical safety, no longer cancels. With an empty P their code takes log 0, except for
        class requests.

    >>> u, r = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    >>> labels = torch.tensor([0, 1])
    >>> contrastive_unlearning_loss(u, r, torch.tensor([0]), labels, temperature=1.0).item()
    -1.0
    """
    u, r = (unit_rows(x) for x in raise_precision(forget, retain))
    same = forget_labels[:, None] == retain_labels
    same_count, other_count = same.sum(1), (~same).sum(1)
    similarity = u @ r.T / temperature
    if weighting == "reference":
        similarity = similarity - similarity.detach().amax(1, keepdim=True)
    to_others = similarity.masked_fill(same, 0.0).sum(1) / other_count.clamp(min=1)
    # A row that is hidden as a whole would have gradient NaN, so such rows are not hidden.
    hidden = ~same & (same_count > 0)[:, None]
    to_same = similarity.masked_fill(hidden, -torch.inf).logsumexp(1) * (same_count > 0)
    if weighting == "reference":
        to_same = to_same * len(r) / other_count.clamp(min=1)
    return (to_same - to_others).mean()
