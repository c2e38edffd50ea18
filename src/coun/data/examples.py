"""Labelled rows that are addressed by their position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from coun.data.checks import checked_ids
from coun.errors import CounError

TOKEN_TYPES = (torch.int16, torch.int32, torch.int64)  # of token ids; uint8 means pixels
FETCH = 1024  # rows read at a time when a whole set is walked through


class Examples(Protocol):
    """Labelled images that are addressed by their position, 0..N-1.

    A class of your own needs these members only; `NamedRows` gives it `ids` and `index`. A
    class with `index` in place of `numbers` and `ids`, as in version 0.1, is accepted as well.
    Labels, numbers and ids are in memory; images need not be.

    >>> import coun
    >>> examples: Examples = coun.load("digits").train
    >>> examples.ids[5], examples.fetch(torch.tensor([5, 7])).shape
    ('5', torch.Size([2, 1, 8, 8]))
    """

    @property
    def labels(self) -> Tensor:
        """Class labels, (N,) int64."""
        ...

    @property
    def numbers(self) -> Tensor:
        """Each row's number in the whole order of its source, (N,) int64, also with a limit."""
        ...

    @property
    def ids(self) -> Sequence[str]:
        """Each row's stable, readable name in its source: a path, an id, or its number."""
        ...

    @property
    def index(self) -> Tensor:
        """The name of `numbers` in version 0.1."""
        ...

    def __len__(self) -> int: ...

    def fetch(self, rows: Tensor) -> Tensor:
        """Read the rows at positions *rows*: images (B, C, H, W) uint8, float of any shape, or
        token ids (B, T) int64."""
        ...

    def take(self, rows: Tensor) -> Examples:
        """Return the subset at positions *rows*; numbers and ids go with their rows."""
        ...


class NamedRows:
    """The names of rows, for classes of examples with `numbers` and, where known, `names`."""

    numbers: Tensor
    names: Sequence[str] | None

    @cached_property
    def ids(self) -> Sequence[str]:
        """Names from the source, or else the row numbers as text, one per row."""
        if self.names is not None:
            return self.names
        return tuple(map(str, self.numbers.tolist()))

    @property
    def index(self) -> Tensor:
        """The name of `numbers` in version 0.1."""
        return self.numbers

    def names_at(self, rows: Tensor) -> Sequence[str] | None:
        """Names of the rows at positions *rows*; None where the source has none."""
        if self.names is None:
            return None
        return tuple(self.names[row] for row in rows.tolist())


@dataclass(frozen=True, eq=False)
class TensorExamples(NamedRows):
    """Examples that are held in memory.

    Args:
        images: (N, C, H, W) uint8, (N, ...) float, or token ids (N, T) int64.
        labels: class labels, (N,) int64.
        numbers: row numbers in the source, (N,) int64.
        names: one id per row; None where the row numbers serve as ids.

    >>> images = torch.zeros(3, 1, 8, 8, dtype=torch.uint8)
    >>> rows = TensorExamples(images, torch.tensor([0, 1, 1]), torch.arange(3), ("a", "b", "c"))
    >>> rows.fetch(torch.tensor([2])).shape, rows.names_at(torch.tensor([2, 0]))
    (torch.Size([1, 1, 8, 8]), ('c', 'a'))
    """

    images: Tensor
    labels: Tensor
    numbers: Tensor
    names: Sequence[str] | None = None

    @classmethod
    def of(cls, images: Any, labels: Any, ids: Sequence[str] | None = None) -> TensorExamples:
        """Make examples from arrays, which may be shared with the result and not copied.

        Args:
            images: uint8 (N, H, W), (N, H, W, 1 or 3) or (N, 1 or 3, H, W), float (N, ...), of
                which (N, H, W, 1 or 3) becomes (N, 1 or 3, H, W), or token ids of texts, (N, T)
                of any other integer type, where negative ids are padding.
            labels: integers, (N,).
            ids: a unique name per row; by default its number.

        Raises: CounError for shapes, types or ids that do not fit.

        >>> TensorExamples.of(np.zeros((2, 8, 8), np.uint8), [0, 1], ids=["a", "b"]).ids
        ('a', 'b')
        """
        x, y = _tensor("images", images), _tensor("labels", labels).flatten()
        if x.ndim < 2:
            raise CounError(f"images have shape {tuple(x.shape)}; expected one row per image")
        if x.dtype in TOKEN_TYPES and x.ndim == 2:
            x = x.long()
        elif x.dtype != torch.uint8 and not x.is_floating_point():
            raise CounError(
                f"images have type {x.dtype} and shape {tuple(x.shape)}; expected uint8 pixels, "
                "floats, or token ids (N, T) of a larger integer type"
            )
        else:
            x = _channels_first(x) if x.dtype == torch.uint8 else _of_floats(x.float())
        if len(x) != len(y):
            raise CounError(f"{len(x)} images but {len(y)} labels; expected one label per image")
        if x.is_floating_point() and not x.isfinite().all():
            row = int((~x.isfinite()).flatten(1).any(1).nonzero()[0])
            what = "row" if x.ndim == 2 else "image"
            raise CounError(f"{what} {row} has a value that is not finite; expected numbers")
        if y.is_floating_point() or y.dtype == torch.bool:
            raise CounError(f"labels have type {y.dtype}; expected integers")
        names = None if ids is None else checked_ids(ids, len(y))
        return cls(x.contiguous(), y.long(), torch.arange(len(y)), names)

    def __len__(self) -> int:
        return len(self.labels)

    def fetch(self, rows: Tensor) -> Tensor:
        return self.images[rows]

    def take(self, rows: Tensor) -> TensorExamples:
        return TensorExamples(
            self.images[rows], self.labels[rows], self.numbers[rows], self.names_at(rows)
        )

    def to(self, device: torch.device) -> TensorExamples:
        """The same set with images and labels resident on *device*."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))


@dataclass(frozen=True, eq=False)
class RenamedExamples(NamedRows):
    """Examples of any class with other labels, numbers and names.

    Args:
        inner: the examples, which give the images.
        labels, numbers: (N,) int64.
        names: one id per row; None where the row numbers serve as ids.
    """

    inner: Examples
    labels: Tensor
    numbers: Tensor
    names: Sequence[str] | None = None

    def __len__(self) -> int:
        return len(self.inner)

    def fetch(self, rows: Tensor) -> Tensor:
        return self.inner.fetch(rows)

    def take(self, rows: Tensor) -> RenamedExamples:
        return RenamedExamples(
            self.inner.take(rows), self.labels[rows], self.numbers[rows], self.names_at(rows)
        )


def _tensor(what: str, values: Any) -> Tensor:
    if isinstance(values, Tensor) and values.layout == torch.strided and not values.is_meta:
        held: Tensor = values.detach().cpu()
        return (held.float() if held.dtype == torch.bfloat16 else held).contiguous()
    if np.ma.is_masked(values):
        raise CounError(f"{what} have masked values; fill them, or leave these rows out")
    try:
        array = np.require(values, requirements=["C", "W"])
        return torch.as_tensor(array.astype(array.dtype.newbyteorder("="), copy=False))
    except (TypeError, ValueError, RuntimeError):
        kind = getattr(values, "layout", None) or getattr(values, "dtype", type(values).__name__)
        raise CounError(
            f"{what} must be a numeric array, all of one shape; these are of type {kind}"
        ) from None


def _of_floats(x: Tensor) -> Tensor:
    """Move the channels of float images in front, where they are last as in (N, H, W, 3)."""
    last = x.ndim == 4 and x.shape[1] not in (1, 3) and x.shape[3] in (1, 3)
    return x.permute(0, 3, 1, 2) if last else x


def _channels_first(x: Tensor) -> Tensor:
    if x.ndim == 3:
        return x[:, None]
    if x.ndim == 4 and x.shape[1] in (1, 3):
        return x
    if x.ndim == 4 and x.shape[3] in (1, 3):
        return x.permute(0, 3, 1, 2)
    raise CounError(
        f"images have shape {tuple(x.shape)}; expected (N, H, W), (N, H, W, 1 or 3) "
        "or (N, 1 or 3, H, W)"
    )
