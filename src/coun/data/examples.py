"""Labelled images addressed by row, and the train/test pair every run starts from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from coun.data.views import Transform
from coun.errors import CounError

FETCH = 1024  # rows read at a time when a whole set is walked through


class Examples(Protocol):
    """A labelled set: `labels` (N,) int64, `index` (N,) int64, and `fetch`.

    `index` holds each row's number in its source's own order: the ids that forget
    requests name, unchanged by `--limit`. Labels are in memory; images need not be.
    """

    @property
    def labels(self) -> Tensor: ...

    @property
    def index(self) -> Tensor: ...

    def __len__(self) -> int: ...

    def fetch(self, rows: Tensor) -> Tensor:
        """Images of *rows* (positions 0..N-1): (B, C, H, W) uint8, or float of any shape."""
        ...

    def take(self, rows: Tensor) -> Examples:
        """The subset at *rows*, keeping their `index`."""
        ...


@dataclass(frozen=True, eq=False)
class TensorExamples:
    """Examples held in memory: images (N, C, H, W) uint8, or float (N, ...)."""

    images: Tensor
    labels: Tensor
    index: Tensor

    @classmethod
    def of(cls, images: Any, labels: Any) -> TensorExamples:
        """From arrays: uint8 (N, H, W), (N, H, W, 1 or 3), (N, 1 or 3, H, W), or float (N, ...).

        Labels are integers, (N,). Arrays may be shared with the result, not copied.
        """
        x, y = _tensor("images", images), _tensor("labels", labels).flatten()
        if x.ndim < 2:
            raise CounError(f"images have shape {tuple(x.shape)}; expected one row an image")
        if x.dtype != torch.uint8 and not x.is_floating_point():
            raise CounError(f"images have type {x.dtype}; expected uint8 pixels or floats")
        x = _channels_first(x) if x.dtype == torch.uint8 else x.float()
        if len(x) != len(y):
            raise CounError(f"{len(x)} images but {len(y)} labels; expected one label an image")
        if x.is_floating_point() and not x.isfinite().all():
            row = int((~x.isfinite()).flatten(1).any(1).nonzero()[0])
            raise CounError(f"image {row} has a value that is not finite; expected numbers")
        if y.is_floating_point() or y.dtype == torch.bool:
            raise CounError(f"labels have type {y.dtype}; expected integers")
        return cls(x.contiguous(), y.long(), torch.arange(len(y)))

    def __len__(self) -> int:
        return len(self.labels)

    def fetch(self, rows: Tensor) -> Tensor:
        return self.images[rows]

    def take(self, rows: Tensor) -> TensorExamples:
        return TensorExamples(self.images[rows], self.labels[rows], self.index[rows])

    def to(self, device: torch.device) -> TensorExamples:
        """The same set with images and labels resident on *device*."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))


def _tensor(what: str, values: Any) -> Tensor:
    try:
        return torch.as_tensor(np.require(values, requirements=["C", "W"]))
    except (TypeError, ValueError, RuntimeError):
        raise CounError(f"{what} are no array of numbers; expected one of a single shape") from None


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


@dataclass(frozen=True, eq=False)
class Data:
    """A training set, a test set and what is known of both.

    Args:
        train, test: the examples; every class of the test set occurs in training.
        classes: names, one per label 0..K-1.
        views: the transform of this data: augmentation for training, normalisation for both.
        source: the spelling that loads it again (`--data`), empty when made in Python.
        limit: the `--limit` it was cut to, if any.
        origin: further arguments of `load` that it took.
        shape, dtype: of one image, found out here.
    """

    train: Examples
    test: Examples
    classes: tuple[str, ...]
    views: Transform
    source: str = ""
    limit: int | None = None
    origin: dict[str, Any] = field(default_factory=dict)
    shape: tuple[int, ...] = field(init=False)
    dtype: torch.dtype = field(init=False)

    def __post_init__(self) -> None:
        for part, examples in (("training", self.train), ("test", self.test)):
            if len(examples) == 0:
                raise CounError(f"the {part} part is empty; expected at least one image")
            wrong = ((examples.labels < 0) | (examples.labels >= len(self.classes))).nonzero()
            if len(wrong):
                row = int(wrong[0])
                raise CounError(
                    f"{part} row {int(examples.index[row])} has label {int(examples.labels[row])}; "
                    f"expected 0..{len(self.classes) - 1}"
                )
        seen, held = (x.fetch(torch.tensor([0])) for x in (self.train, self.test))
        if seen.shape != held.shape:
            raise CounError(
                f"training images are {tuple(seen.shape[1:])} but test images are "
                f"{tuple(held.shape[1:])}; expected one shape"
            )
        object.__setattr__(self, "shape", tuple(seen.shape[1:]))
        object.__setattr__(self, "dtype", seen.dtype)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over shapes, pixels and labels of both parts, in order."""
        digest = hashlib.sha256()
        for part in (self.train, self.test):
            for start in range(0, len(part), FETCH):
                rows = torch.arange(start, min(start + FETCH, len(part)))
                images = part.fetch(rows).contiguous().cpu()
                digest.update(str((images.dtype, tuple(images.shape))).encode())
                digest.update(images.numpy().tobytes())
            digest.update(part.labels.cpu().numpy().tobytes())
        return digest.hexdigest()


def limited(data: Data, limit: int | None, test_limit: int | None = None) -> Data:
    """*data* with stratified, seeded subsets of so many rows; a part without a limit stays whole.

    Classes keep their shares (largest remainders first); rows keep their source order.
    """
    train, test = kept_rows((data.train.labels, data.test.labels), (limit, test_limit))
    if limit is not None:
        data = replace(data, train=data.train.take(train), limit=limit)
    return data if test_limit is None else replace(data, test=data.test.take(test))


def kept_rows(labels: Iterable[Tensor], limits: Iterable[int | None]) -> list[Tensor]:
    """The rows of the training and the test part that `--limit` and `--test-limit` keep."""
    return [
        torch.arange(len(one)) if limit is None else stratified(one, limit, 0, what=what)
        for one, limit, what in zip(labels, limits, ("--limit", "--test-limit"), strict=True)
    ]


def stratified(labels: Tensor, count: int, seed: int, *, what: str = "subset") -> Tensor:
    """Positions of a class-balanced random subset of *labels* (N,), sorted, (count,) int64."""
    if not 1 <= count <= len(labels):
        raise CounError(f"{what} is {count}; expected 1..{len(labels)}, the number of rows")
    rng = np.random.default_rng(seed)
    y = labels.cpu().numpy()
    sizes = np.bincount(y)
    quota = count * sizes / len(y)
    share = np.floor(quota).astype(int)
    for c in np.argsort(share - quota, kind="stable")[: count - share.sum()]:
        share[c] += 1
    rows = [rng.permutation(np.flatnonzero(y == c))[:n] for c, n in enumerate(share)]
    return torch.from_numpy(np.sort(np.concatenate(rows)))
