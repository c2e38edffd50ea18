"""A source whose labels are read and whose images are still encoded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from coun.data.checks import NAMEABLE, check_labels, nameable
from coun.data.examples import Data, TensorExamples, kept_rows
from coun.data.images import stack
from coun.data.views import Views
from coun.errors import CounError


@dataclass(frozen=True)
class Part:
    """One part of a table.

    Args:
        labels: class labels, (N,) int64.
        encoded: given sorted positions (n,), yields the images there in that order, each as
            a name for error messages and its encoded bytes or path.
        numbers: row numbers in the whole source, (N,) int64; by default 0..N-1.
        names: one unique id per row; None where the row numbers serve as ids.
    """

    labels: np.ndarray
    encoded: Callable[[np.ndarray], Iterable[tuple[str, bytes | str]]]
    numbers: np.ndarray | None = None
    names: Sequence[str] | None = None

    @classmethod
    def of_files(cls, paths: Sequence[str], labels: Sequence[int], root: Path) -> Part:
        """One image file per row; its path below *root* is its id, on every system with /.

        Raises: CounError for a path that no text file of ids could name.
        """
        names = [Path(path).relative_to(root).as_posix() for path in paths]
        for name in names:
            if not nameable(name):
                raise CounError(f"file name {name!r} {NAMEABLE}; rename it")
        return cls(
            np.asarray(labels, np.int64),
            lambda rows: ((paths[row], paths[row]) for row in rows),
            names=names,
        )

    def take(self, rows: np.ndarray) -> Part:
        """The part at sorted positions *rows* (n,); they keep their numbers and ids."""
        return Part(
            self.labels[rows],
            lambda chosen: self.encoded(rows[chosen]),
            rows if self.numbers is None else self.numbers[rows],
            None if self.names is None else [self.names[row] for row in rows],
        )

    def examples(self, images: np.ndarray, rows: Tensor) -> TensorExamples:
        """Examples of the decoded *images* at positions *rows*, with their numbers and ids."""
        numbers = torch.arange(len(self.labels))
        if self.numbers is not None:
            numbers = torch.from_numpy(self.numbers)
        names = None if self.names is None else tuple(self.names[row] for row in rows.tolist())
        labels = torch.from_numpy(self.labels)
        return TensorExamples(torch.from_numpy(images), labels[rows], numbers[rows], names)


@dataclass(frozen=True)
class Table:
    """Both parts of a source and its class names.

    Args:
        train, test: the parts.
        classes: names of the classes, one per label 0..K-1.
        notes: what the user should know about how the source was read, one line each.
        problems: what is wrong with the source unless rows were deleted from it on purpose.
    """

    train: Part
    test: Part
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def one_numbering(self) -> bool:
        """Whether both parts have numbers of their own that do not overlap."""
        train, test = self.train.numbers, self.test.numbers
        return train is not None and test is not None and not np.isin(test, train).any()

    def read(
        self,
        limit: int | None = None,
        test_limit: int | None = None,
        *,
        size: int | None = None,
        partial: bool = False,
    ) -> Data:
        """Decode the rows that the limits keep, and no others.

        The rows are those that `examples.limited` would keep of the whole; `numbers`
        count in the whole source.

        Args:
            limit, test_limit: numbers of rows to keep; all by default.
            size: as for `coun.data.images.decode`.
            partial: accept classes that lost all their training rows, and other `problems`.

        Raises: CounError for labels that do not fit, and for images that cannot be used.
        """
        if not partial:
            if self.problems:
                raise CounError(self.problems[0])
            check_labels(self.train.labels, self.test.labels, self.classes)
        labels = [torch.from_numpy(part.labels) for part in (self.train, self.test)]
        rows, test_rows = kept_rows(labels, (limit, test_limit))
        train, test = (
            stack(part.encoded(kept.numpy()), len(kept), size=size)
            for part, kept in ((self.train, rows), (self.test, test_rows))
        )
        channels = max(train.shape[1], test.shape[1])
        train, test = (x.repeat(channels // x.shape[1], axis=1) for x in (train, test))
        return Data(
            self.train.examples(train, rows),
            self.test.examples(test, test_rows),
            self.classes,
            Views.for_images(train.shape[1:]),
            limit=limit,
            one_numbering=self.one_numbering,
            notes=self.notes,
        )
