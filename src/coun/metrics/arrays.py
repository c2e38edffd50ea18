"""What metrics take: torch tensors or numpy arrays, brought to float64 on the CPU."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from torch import Tensor

from coun.errors import CounError

Values: TypeAlias = Tensor | npt.ArrayLike
Floats: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]


def floats(values: Values, what: str, dims: int) -> Floats:
    """*values* as a float64 array with *dims* axes and at least one entry.

    Raises: CounError, which calls them *what*, if they have another form or are empty.
    """
    if isinstance(values, Tensor):
        values = values.detach().cpu().double().numpy()  # bfloat16 is unknown to numpy
    found: Floats = np.asarray(values, dtype=np.float64)
    if found.ndim != dims or found.size == 0:
        raise CounError(f"{what}: shape {found.shape}; expected {dims} axes, none of them empty")
    return found


def pair(a: Values, b: Values, what: str, dims: int) -> tuple[Floats, Floats]:
    """Two arrays of one shape, as `floats`. Raises: CounError if their shapes differ."""
    first, second = floats(a, what, dims), floats(b, what, dims)
    if first.shape != second.shape:
        raise CounError(f"{what}: shapes {first.shape} and {second.shape}; expected one shape")
    return first, second


def class_numbers(labels: Values, rows: int, classes: int) -> Ints:
    """*labels* as (rows,) int64 in 0..classes-1. Raises: CounError if they are not."""
    found = floats(labels, "labels", 1)
    if len(found) != rows:
        raise CounError(f"{len(found)} labels for {rows} rows; expected one label a row")
    whole: Ints = found.astype(np.int64)
    if whole.min() < 0 or whole.max() >= classes or (whole != found).any():
        raise CounError(
            f"labels from {found.min():g} to {found.max():g}; expected whole numbers in "
            f"0..{classes - 1}"
        )
    return whole


def labelled(logits: Values, labels: Values) -> tuple[Floats, Ints]:
    """Logits (N, K) and labels (N,) that fit each other. Raises: CounError if they do not."""
    rows = floats(logits, "logits", 2)
    return rows, class_numbers(labels, *rows.shape)
