"""A source whose labels are read and whose images are still encoded."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch

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
    """

    labels: np.ndarray
    encoded: Callable[[np.ndarray], Iterable[tuple[str, bytes | str]]]

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

    def read(self, limit: int | None = None, test_limit: int | None = None) -> Data:
        """Decode the rows that the limits keep, and no others.

        The rows are those that `examples.limited` would keep of the whole; `index` counts
        in the whole.
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
            TensorExamples(torch.from_numpy(train), labels[0][rows], rows),
            TensorExamples(torch.from_numpy(test), labels[1][held], held),
            self.classes,
            Views.for_images(train.shape[1:]),
            limit=limit,
        )
