"""The arguments of metrics: tensors or arrays, converted to float64 on the CPU and checked."""

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
    """Convert *values* to a float64 array with *dims* axes and at least one entry.

    Raises: CounError, in which *what* names them, if they have another shape or are empty.
    """
    if isinstance(values, Tensor):
        values = values.detach().cpu().double().numpy()  # NumPy does not know bfloat16
    array: Floats = np.asarray(values, dtype=np.float64)
    if array.ndim != dims or array.size == 0:
        raise CounError(f"{what}: shape {array.shape}; expected {dims} axes, none of them empty")
    return array


def pair(a: Values, b: Values, what: str, dims: int) -> tuple[Floats, Floats]:
    """Convert two arrays as `floats` does. Raises: CounError if their shapes differ."""
    first, second = floats(a, what, dims), floats(b, what, dims)
    if first.shape != second.shape:
        raise CounError(f"{what}: shapes {first.shape} and {second.shape}; expected one shape")
    return first, second


def class_numbers(labels: Values, rows: int, classes: int) -> Ints:
    """Convert *labels* to (rows,) int64. Raises: CounError if one is not in 0..classes-1."""
    values = floats(labels, "labels", 1)
    if len(values) != rows:
        raise CounError(f"{len(values)} labels for {rows} rows; expected one label for each row")
    whole: Ints = values.astype(np.int64)
    if whole.min() < 0 or whole.max() >= classes or (whole != values).any():
        raise CounError(
            f"labels from {values.min():g} to {values.max():g}; expected whole numbers in "
            f"0..{classes - 1}"
        )
    return whole


def labelled(logits: Values, labels: Values) -> tuple[Floats, Ints]:
    """Convert logits (N, K) and labels (N,). Raises: CounError if they do not fit each other."""
    rows = floats(logits, "logits", 2)
    return rows, class_numbers(labels, *rows.shape)
