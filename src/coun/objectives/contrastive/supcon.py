"""SupCon: all rows of the same class are positives."""

from __future__ import annotations

import torch
from torch import Tensor

from coun.objectives.contrastive.embeddings import check_pair, check_temperatures
from coun.objectives.contrastive.nt_xent import all_pairs


def supcon_loss(
    a: Tensor,
    b: Tensor,
    labels: Tensor,
    *,
    temperature: float,
    base_temperature: float | None = None,
) -> Tensor:
    """Compute the supervised contrastive loss, L_out: all rows of a class are positives.

    Args:
        a, b: embeddings of the two views, (N, D), of any scale; they are normalised here.
        labels: the class of each row, (N,).
        temperature: tau > 0.
        base_temperature: if given, the loss is multiplied by tau / base_temperature.

    Returns: a scalar, nats, the mean over 2N rows; 0 for N = 1. If all labels differ it is
        NT-Xent.

    Raises: ValueError if the shapes differ, are not (N, D), labels are not (N,), or a
        temperature is not above 0.

    Source: SupCon (Khosla et al., NeurIPS 2020), Eq. 2. The authors' code always multiplies
        by tau / 0.07; `base_temperature=0.07` does the same.

    >>> views = torch.eye(2)
    >>> round(supcon_loss(views, views, torch.tensor([0, 1]), temperature=1.0).item(), 4)
    0.5514
    """
    check_pair(a, b)
    check_temperatures(temperature=temperature)
    if labels.shape != a.shape[:1]:
        raise ValueError(f"labels have shape {tuple(labels.shape)}; expected ({len(a)},)")
    similarity = all_pairs(a, b, temperature)
    classes = labels.repeat(2)
    # The other view is always a positive, so every row has at least one.
    positive = (classes[:, None] == classes).fill_diagonal_(False)
    mean_positive = torch.where(positive, similarity, 0.0).sum(1) / positive.sum(1)
    loss = (similarity.logsumexp(1) - mean_positive).mean()
    if base_temperature is None:
        return loss
    check_temperatures(base_temperature=base_temperature)
    return loss * (temperature / base_temperature)
