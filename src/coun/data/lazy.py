"""Examples whose images stay on the disk until they are fetched."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Protocol, Self

import numpy as np
import torch
from torch import Tensor

from coun.data.examples import Examples, NamedRows
from coun.data.image_stack import DeepImages, images_of_one_size
from coun.errors import CounError


class Images(Protocol):
    """Images by place, 0..N-1, that are read at each access."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one image, (C, H, W)."""
        ...

    def read(self, places: np.ndarray) -> np.ndarray:
        """The images at *places* (B,), in that order: (B, C, H, W) uint8."""
        ...


@dataclass(frozen=True)
class DecodedFile:
    """Images in one `.npy` file, (N, C, H, W) uint8.

    The file is mapped anew for each read, so that pages that were read do not stay in memory.
    It is kept open, so that it may be deleted meanwhile.
    """

    path: Path

    @cached_property
    def _file(self) -> BinaryIO:
        return open(self.path, "rb")

    @cached_property
    def _layout(self) -> tuple[int, tuple[int, ...]]:
        """Bytes before the pixels, and the shape of the whole array."""
        self._file.seek(0)
        if np.lib.format.read_magic(self._file) != (2, 0):
            raise ValueError("not a file of decoded images")
        shape, _, _ = np.lib.format.read_array_header_2_0(self._file)
        return self._file.tell(), shape

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}  # a loading process opens the file itself

    @property
    def shape(self) -> tuple[int, int, int]:
        _, channels, height, width = self._layout[1]
        return channels, height, width

    def read(self, places: np.ndarray) -> np.ndarray:
        offset, shape = self._layout
        mapped = np.memmap(self._file, np.uint8, "r", offset, shape)
        return np.array(mapped[places])


@dataclass(frozen=True)
class EncodedImages:
    """Images that are decoded at each access.

    Args:
        encoded: as of `coun.data.sources.table.Part`.
        size: as for `coun.data.images.decode`.
        shape: of one decoded image.
    """

    encoded: Callable[[np.ndarray], Iterable[tuple[str, bytes | str]]]
    size: int | None
    shape: tuple[int, int, int]

    @classmethod
    def checked(
        cls,
        encoded: Callable[[np.ndarray], Iterable[tuple[str, bytes | str]]],
        rows: np.ndarray,
        size: int | None,
        deep: DeepImages,
    ) -> EncodedImages:
        """Decode the images at sorted *rows* once, to see that all can be used and which shape
        they have. Those with 16 bits are counted in *deep*."""
        shape = (1, 0, 0)
        for image in images_of_one_size(encoded(rows), len(rows), size=size, deep=deep):
            shape = (max(shape[0], image.shape[0]), *image.shape[1:])
        return cls(encoded, size, shape)

    def read(self, places: np.ndarray) -> np.ndarray:
        rows, inverse = np.unique(places, return_inverse=True)
        out = np.empty((len(rows), *self.shape), np.uint8)
        images = images_of_one_size(self.encoded(rows), len(rows), size=self.size)
        for k, image in enumerate(images):
            if image.shape[1:] != self.shape[1:] or len(image) > self.shape[0]:
                raise CounError(
                    f"an image has shape {image.shape} and had {self.shape}; the source was "
                    "changed while it was read"
                )
            out[k] = image
        return out[inverse]


@dataclass(frozen=True, eq=False, kw_only=True)
class PlacedRows(NamedRows):
    """Rows whose images lie elsewhere, each at a place; a subset copies no image.

    Args:
        labels, numbers: (N,) int64, in memory.
        places: where the images of the rows are, (N,) int64.
        names: one id per row; None where the row numbers serve as ids.
    """

    labels: Tensor
    numbers: Tensor
    places: Tensor
    names: Sequence[str] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Tensor) -> Self:
        return replace(
            self,
            labels=self.labels[rows],
            numbers=self.numbers[rows],
            places=self.places[rows],
            names=self.names_at(rows),
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class LazyExamples(PlacedRows):
    """Examples whose images are read when they are fetched.

    Args:
        images: the images, in which the rows have places.
        channels: of the fetched images; grey images are repeated.
    """

    images: Images
    channels: int

    def fetch(self, rows: Tensor) -> Tensor:
        images = torch.from_numpy(self.images.read(self.places[rows].numpy()))
        if images.shape[1] == self.channels:
            return images
        return images.expand(-1, self.channels, -1, -1).contiguous()


@dataclass(frozen=True, eq=False)
class SubsetExamples(NamedRows):
    """Some rows of other examples, of which no image is copied; `subset` makes it.

    Args:
        inner: the examples.
        rows: positions in *inner*, (N,) int64.
        labels, numbers, names: of the rows.
    """

    inner: Examples
    rows: Tensor
    labels: Tensor
    numbers: Tensor
    names: Sequence[str] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def fetch(self, rows: Tensor) -> Tensor:
        return self.inner.fetch(self.rows[rows])

    def take(self, rows: Tensor) -> SubsetExamples:
        return subset(self.inner, self.rows[rows])


def subset(examples: Examples, rows: Tensor) -> SubsetExamples:
    """Return the rows at positions *rows*, (N,) int64, without a copy of their images.

    >>> import coun
    >>> rows = subset(coun.load("digits", limit=20).train, torch.tensor([3, 1]))
    >>> rows.fetch(torch.tensor([0])).shape
    torch.Size([1, 1, 8, 8])
    """
    names = None
    if getattr(examples, "names", None) is not None:
        names = tuple(examples.ids[row] for row in rows.tolist())
    return SubsetExamples(examples, rows, examples.labels[rows], examples.numbers[rows], names)


@dataclass(frozen=True, eq=False)
class JoinedExamples(NamedRows):
    """Two sets of examples, one behind the other; `joined_examples` makes it.

    Args:
        first, second: examples whose images have one shape.
        labels, numbers, names: of all their rows.
    """

    first: Examples
    second: Examples
    labels: Tensor
    numbers: Tensor
    names: Sequence[str] | None = None

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def fetch(self, rows: Tensor) -> Tensor:
        behind = rows >= len(self.first)
        images = self.first.fetch(rows[~behind])
        if not behind.any():
            return images
        more = self.second.fetch(rows[behind] - len(self.first))
        result = more.new_empty((len(rows), *more.shape[1:]))
        result[~behind], result[behind] = images, more
        return result

    def take(self, rows: Tensor) -> SubsetExamples:
        return subset(self, rows)


def joined_examples(first: Examples, second: Examples) -> JoinedExamples:
    """Return the rows of *first*, then those of *second*, without a copy of their images."""
    return JoinedExamples(
        first,
        second,
        torch.cat([first.labels, second.labels]),
        torch.cat([first.numbers, second.numbers]),
        (*first.ids, *second.ids),
    )
