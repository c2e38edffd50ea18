"""A source whose labels are read and whose images are still encoded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from coun.data.checks import check_labels
from coun.data.examples import Data, TensorExamples, kept_rows
from coun.data.images import stack
from coun.data.views import Views


@dataclass(frozen=True)
class Part:
    """One part of a table.

    Args:
        labels: (N,) int64.
        encoded: the images of sorted rows, in that order: (name for errors, bytes or path).
        numbers: row numbers in the whole source, (N,) int64; by default 0..N-1.
        names: one unique id per row; None where the row numbers serve as ids.
    """

    labels: np.ndarray
    encoded: Callable[[np.ndarray], Iterable[tuple[str, bytes | str]]]
    numbers: np.ndarray | None = None
    names: Sequence[str] | None = None

    def examples(self, images: np.ndarray, rows: Tensor) -> TensorExamples:
        """Examples of the decoded *images* at positions *rows*, with their numbers and ids."""
        numbers = torch.arange(len(self.labels))
        if self.numbers is not None:
            numbers = torch.from_numpy(self.numbers)
        names = None if self.names is None else tuple(self.names[row] for row in rows.tolist())
        labels = torch.from_numpy(self.labels)
        return TensorExamples(torch.from_numpy(images), labels[rows], numbers[rows], names)

    @classmethod
    def of_files(cls, paths: list[str], labels: list[int]) -> Part:
        """One file an image; errors call it by its path."""
        return cls(
            np.asarray(labels, np.int64), lambda rows: ((paths[row], paths[row]) for row in rows)
        )


@dataclass(frozen=True)
class Table:
    """Both parts of a source and its class names."""

    train: Part
    test: Part
    classes: tuple[str, ...]

    @property
    def one_numbering(self) -> bool:
        """Whether both parts have numbers of their own that do not overlap."""
        train, test = self.train.numbers, self.test.numbers
        return train is not None and test is not None and not np.isin(test, train).any()

    def read(self, limit: int | None = None, test_limit: int | None = None) -> Data:
        """Decode the rows that the limits keep, and no others.

        The rows are those that `examples.limited` would keep of the whole; `numbers`
        count in the whole source.
        """
        check_labels(self.train.labels, self.test.labels, self.classes)
        labels = [torch.from_numpy(part.labels) for part in (self.train, self.test)]
        rows, held = kept_rows(labels, (limit, test_limit))
        train, test = (
            stack(part.encoded(kept.numpy()), len(kept))
            for part, kept in ((self.train, rows), (self.test, held))
        )
        channels = max(train.shape[1], test.shape[1])
        train, test = (x.repeat(channels // x.shape[1], axis=1) for x in (train, test))
        return Data(
            self.train.examples(train, rows),
            self.test.examples(test, held),
            self.classes,
            Views.for_images(train.shape[1:]),
            limit=limit,
            one_numbering=self.one_numbering,
        )
