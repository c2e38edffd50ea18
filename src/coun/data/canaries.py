"""Canaries: marked rows, of which a coin decides whether they take part in training.

Membership is random by design, so an audit needs neither a Retrain nor an assumption about rows:
a model that never used the canaries cannot tell the two groups apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from coun.data.data_set import Data
from coun.data.examples import Examples, NamedRows, TensorExamples
from coun.errors import CounError

Mark = Literal["mislabelled", "augmented"]
FEWEST = 8
GOLDEN = 0x9E3779B97F4A7C15  # of splitmix64


@dataclass(frozen=True, eq=False)
class Canaries:
    """Marked rows and their coin flips.

    Attributes:
        examples: all N marked rows, with their marks.
        member: (N,) bool: whether the coin puts the row into training.
        mark: "mislabelled" or "augmented".

    >>> import coun
    >>> planted = coun.data.plant(coun.load("digits", limit=100), 10)
    >>> len(planted.train) == 90 + int(planted.canaries.member.sum())
    True
    """

    examples: TensorExamples
    member: Tensor
    mark: Mark

    @property
    def member_numbers(self) -> Tensor:
        """Source numbers of the canaries that take part in training, sorted."""
        return self.examples.numbers[self.member].sort().values

    @classmethod
    def make(
        cls,
        examples: Examples,
        classes: int,
        count: int,
        *,
        seed: int = 0,
        mark: Mark = "mislabelled",
    ) -> Canaries:
        """Choose *count* rows of *examples*, mark them and flip a coin for each.

        Choice, coin and mark are functions of the seed and of the row's number in the source, so
        they do not change when other rows are deleted.

        Args:
            mark: "mislabelled": the row gets another label, which a network must memorise to fit.
                "augmented": the image is mirrored and gets noise under the right label; the
                weaker and less harmful mark.

        Raises: CounError for fewer than 2 classes, fewer than 8 canaries, or more than rows.

        >>> from coun import load
        >>> canaries = Canaries.make(load("digits").train, 10, 40)
        >>> len(canaries.member), 8 < int(canaries.member.sum()) < 32
        (40, True)
        """
        if not FEWEST <= count <= len(examples) or classes < 2:
            raise CounError(
                f"{count} canaries of {len(examples)} rows in {classes} classes; expected 8 or "
                "more, at most one per row, and at least 2 classes"
            )
        keys = _random(examples.numbers, seed, "choice")
        positions = torch.from_numpy(np.sort(np.argsort(keys, kind="stable")[:count]))
        rows = examples.take(positions)
        images, labels = rows.fetch(torch.arange(count)).clone(), rows.labels.cpu().clone()
        member = torch.from_numpy(_random(rows.numbers, seed, "coin") % 2 == 0)
        if mark == "mislabelled":
            shift = _random(rows.numbers, seed, "label") % (classes - 1) + 1
            labels = (labels + torch.from_numpy(shift.astype(np.int64))) % classes
        else:
            images = torch.stack(
                [
                    _augmented(image, int(key))
                    for image, key in zip(images, _random(rows.numbers, seed, "noise"), strict=True)
                ]
            )
        return cls(TensorExamples(images, labels, rows.numbers, tuple(rows.ids)), member, mark)


@dataclass(frozen=True, eq=False)
class PlantedExamples(NamedRows):
    """Examples of which some rows are replaced by their marked form.

    Attributes:
        base: the examples without marks, in which the canaries that stay out are missing.
        labels, numbers, names: as of `TensorExamples`, with the marks.
        marked: images of canaries by row number.
    """

    base: Examples
    labels: Tensor
    numbers: Tensor
    marked: dict[int, Tensor]
    names: Sequence[str] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def fetch(self, rows: Tensor) -> Tensor:
        """Read the images at positions *rows*, marked where they are canaries."""
        images = self.base.fetch(rows)
        for place, number in enumerate(self.numbers[rows].tolist()):
            if number in self.marked:
                images[place] = self.marked[number]
        return images

    def take(self, rows: Tensor) -> PlantedExamples:
        """Return the subset at positions *rows*."""
        return PlantedExamples(
            self.base.take(rows),
            self.labels[rows],
            self.numbers[rows],
            self.marked,
            self.names_at(rows),
        )


def plant(data: Data, count: int, *, seed: int = 0, mark: Mark = "mislabelled") -> Data:
    """Put canaries into the training part of *data*.

    The canaries that the coin chose replace their rows; the others leave the training part. Every
    later forget request names the canaries that took part.

    Args: count, seed, mark: as for `Canaries.make`.

    Returns: data with `canaries`; `load(..., canaries=count)` gives the same.

    >>> from coun import load
    >>> data = plant(load("digits"), 40)
    >>> len(data.train) == 1438 - int((~data.canaries.member).sum())
    True
    """
    canaries = Canaries.make(data.train, len(data.classes), count, seed=seed, mark=mark)
    outside = canaries.examples.numbers[~canaries.member]
    stay = (~torch.isin(data.train.numbers, outside)).nonzero().flatten()
    base = data.train.take(stay)
    labels, marked = base.labels.cpu().clone(), {}
    place = {number: k for k, number in enumerate(base.numbers.tolist())}
    for k in canaries.member.nonzero().flatten().tolist():
        number = int(canaries.examples.numbers[k])
        labels[place[number]] = canaries.examples.labels[k]
        marked[number] = canaries.examples.images[k]
    train = PlantedExamples(base, labels, base.numbers, marked, tuple(base.ids))
    return replace(data, train=train, canaries=canaries)


def _random(numbers: Tensor, seed: int, purpose: str) -> np.ndarray:
    """A pseudo-random uint64 for each row number (splitmix64 of seed, purpose and number)."""
    start = sum(ord(letter) << (8 * (k % 6)) for k, letter in enumerate(purpose)) + (seed << 20)
    with np.errstate(over="ignore"):
        x = numbers.cpu().numpy().astype(np.uint64) * np.uint64(0xBF58476D1CE4E5B9)
        x = x + np.uint64((start * GOLDEN) % 2**64)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor)
        return x ^ (x >> np.uint64(31))


def _augmented(image: Tensor, key: int) -> Tensor:
    """The image, mirrored, with noise of a tenth of its spread."""
    generator = torch.Generator().manual_seed(key % 2**63)
    noise = torch.randn(image.shape, generator=generator, dtype=torch.float64)
    marked = image.flip(-1).double() + 0.1 * (image.double().std() + 1e-6) * noise
    return (marked if image.is_floating_point() else marked.round().clamp(0, 255)).to(image.dtype)
