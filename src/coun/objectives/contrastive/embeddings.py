"""What the contrastive losses ask of their inputs, and how they prepare them."""

from __future__ import annotations

import torch
from torch import Tensor

# Shorter rows have no direction worth keeping.
SHORTEST = 1e-12


def check_pair(a: Tensor, b: Tensor) -> None:
    """Raises: ValueError unless *a* and *b* are two views of one shape (N, D)."""
    if a.ndim != 2 or a.shape != b.shape:
        raise ValueError(
            f"views have shapes {tuple(a.shape)} and {tuple(b.shape)}; expected one (N, D)"
        )


def check_temperatures(**temperatures: float) -> None:
    """Raises: ValueError unless every temperature, given by its name, is above 0."""
    for name, value in temperatures.items():
        if not value > 0:
            raise ValueError(f"{name} is {value}; expected a number above 0")


def raise_precision(a: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
    """All in float64 if the first is, else all in float32: half precision is too coarse."""
    dtype = torch.float64 if a.dtype == torch.float64 else torch.float32
    return tuple(x.to(dtype) for x in (a, *others))


def unit_rows(x: Tensor) -> Tensor:
    """Rows of *x* (N, D) scaled to length 1; zero rows stay zero and get a zero gradient.

    `F.normalize` agrees but for the gradient of a zero row, which it multiplies by 1e12.
    """
    length = x.norm(dim=1, keepdim=True)
    return torch.where(length > SHORTEST, x / length.clamp_min(SHORTEST), 0.0)


def zero_of(*tensors: Tensor) -> Tensor:
    """A zero that depends on *tensors*, so that it can be differentiated."""
    return sum((0 * x.sum() for x in tensors[1:]), 0 * tensors[0].sum())
