"""The algebra of interference: subspaces of gradients, and updates that leave them alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def leading_directions(gradients: Tensor, energy: float = 0.95) -> Tensor:
    """Find the directions that hold a share of the energy of some gradients.

    Args:
        gradients: (m, D), one in each row.
        energy: the share of the sum of squared singular values, 0 < energy <= 1.

    Returns: an orthonormal basis (D, r), the fewest right singular vectors that reach it; r = 0
        where all gradients are zero.

    >>> leading_directions(torch.tensor([[3.0, 0.0, 0.0], [0.0, 0.1, 0.0]])).T.abs()
    tensor([[1., 0., 0.]])
    """
    _, values, right = torch.linalg.svd(gradients, full_matrices=False)
    squares = values.square()
    total = squares.sum()
    if total == 0:
        return gradients.new_zeros(gradients.shape[1], 0)
    # Rounding may leave the last cumulative share below an energy of 1.
    reached = (squares.cumsum(0) / total < energy).sum() + 1
    rank = min(int(reached), int((values > 0).sum()))
    basis: Tensor = right[:rank].T
    return basis


def joined(bases: Sequence[Tensor]) -> Tensor:
    """Return an orthonormal basis (D, r) of the span of several bases (D, r_j).

    >>> joined([torch.eye(3)[:, :1], torch.eye(3)[:, 1:2]]).shape
    torch.Size([3, 2])
    """
    return orthonormal(torch.cat(list(bases), 1))


def orthonormal(columns: Tensor) -> Tensor:
    """Return an orthonormal basis (D, r) of the span of *columns* (D, m).

    Columns that depend on others add no direction: the SVD finds them, and QR would not.

    >>> orthonormal(torch.tensor([[1.0, 2.0], [0.0, 0.0]])).shape
    torch.Size([2, 1])
    """
    if columns.shape[1] == 0:
        return columns
    left: Tensor
    left, values, _ = torch.linalg.svd(columns, full_matrices=False)
    tolerance = values[0] * max(columns.shape) * torch.finfo(columns.dtype).eps
    return left[:, values > tolerance]


def removed(gradient: Tensor, basis: Tensor) -> Tensor:
    """Return *gradient* (D,) without its part in the span of *basis* (D, r): (I - Q Q^T) g.

    It is removed twice, because rounding leaves a part of the first time when most is removed.

    >>> removed(torch.tensor([1.0, 2.0]), torch.tensor([[1.0], [0.0]]))
    tensor([0., 2.])
    """
    for _ in range(2):
        gradient = gradient - basis @ (basis.T @ gradient)
    return gradient
