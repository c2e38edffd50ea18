"""Checks and preparation of the inputs of contrastive losses."""

from __future__ import annotations

import torch
from torch import Tensor

# The direction of a row that is shorter than this is only rounding error.
SHORTEST = 1e-12


def check_pair(a: Tensor, b: Tensor) -> None:
    """Check that *a* and *b* are two views of the same shape (N, D).

    Raises: ValueError if they are not.
    """
    if a.ndim != 2 or a.shape != b.shape:
        raise ValueError(
            f"views have shapes {tuple(a.shape)} and {tuple(b.shape)}; expected one shape (N, D)"
        )


def check_temperatures(**temperatures: float) -> None:
    """Check that every temperature, given by its name, is above 0.

    Raises: ValueError if one is not.
    """
    for name, value in temperatures.items():
        if not value > 0:
            raise ValueError(f"{name} is {value}; expected a number above 0")


def raise_precision(a: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
    """Return all tensors in float64 if the first one is, otherwise in float32.

    Half precision is too coarse for similarities.
    """
    dtype = torch.float64 if a.dtype == torch.float64 else torch.float32
    return tuple(x.to(dtype) for x in (a, *others))


def unit_rows(x: Tensor) -> Tensor:
    """Scale the rows of *x* (N, D) to length 1; zero rows stay zero and get a zero gradient.

    `F.normalize` differs in the gradient of a zero row only, which it multiplies by 1e12.
    """
    length = x.norm(dim=1, keepdim=True)
    return torch.where(length > SHORTEST, x / length.clamp_min(SHORTEST), 0.0)


def zero_of(*tensors: Tensor) -> Tensor:
    """Return a zero that depends on *tensors*, so that it can be differentiated."""
    return sum((0 * x.sum() for x in tensors[1:]), 0 * tensors[0].sum())
