"""A source whose labels are read and whose images are still encoded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from coun.data.cache import SMALLEST, Cache
from coun.data.checks import NAMEABLE, check_labels, nameable
from coun.data.data_set import Data
from coun.data.examples import FETCH, Examples, TensorExamples
from coun.data.id_columns import NO_COLUMNS, IdColumns
from coun.data.image_stack import DeepImages, stack
from coun.data.lazy import EncodedImages, Images, LazyExamples
from coun.data.subsets import kept_rows
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
        files: given sorted positions (n,), names the files that hold the images there, and
            says in words what of the files it is; None where that is not known, and then
            decoded images are not cached.
    """

    labels: np.ndarray
    encoded: Callable[[np.ndarray], Iterable[tuple[str, bytes | str]]]
    numbers: np.ndarray | None = None
    names: Sequence[str] | None = None
    files: Callable[[np.ndarray], tuple[Sequence[str], str]] | None = None

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
            files=lambda rows: ([paths[row] for row in rows], "one image per file"),
        )

    def take(self, rows: np.ndarray) -> Part:
        """The part at sorted positions *rows* (n,); they keep their numbers and ids."""
        return Part(
            self.labels[rows],
            lambda chosen: self.encoded(rows[chosen]),
            self.row_numbers[rows],
            None if self.names is None else [self.names[row] for row in rows],
            None if self.files is None else partial(_files_at, self.files, rows),
        )

    @property
    def row_numbers(self) -> np.ndarray:
        """Row numbers in the whole source, (N,) int64."""
        return np.arange(len(self.labels)) if self.numbers is None else self.numbers

    def examples(self, images: Images | np.ndarray, rows: Tensor, channels: int) -> Examples:
        """Examples of the *images* at positions *rows*, with their numbers and ids.

        Args:
            images: the decoded images of these rows, or images that are read at each access.
            channels: 1 or 3; grey images are repeated.
        """
        numbers = torch.from_numpy(self.row_numbers)
        names = None if self.names is None else tuple(self.names[row] for row in rows.tolist())
        labels, numbers = torch.from_numpy(self.labels)[rows], numbers[rows]
        if isinstance(images, np.ndarray):
            if images.shape[1] < channels:
                images = images.repeat(channels, axis=1)
            return TensorExamples(torch.from_numpy(images), labels, numbers, names)
        places = rows if isinstance(images, EncodedImages) else torch.arange(len(rows))
        return LazyExamples(
            images=images,
            channels=channels,
            labels=labels,
            numbers=numbers,
            places=places,
            names=names,
        )

    def images(
        self,
        rows: np.ndarray,
        *,
        size: int | None,
        stream: bool,
        cache: Cache | None,
        deep: DeepImages,
    ) -> Images | np.ndarray:
        """The images at sorted positions *rows* (n,): decoded, from the cache, or still encoded.

        Args:
            size: as for `coun.data.images.decode`.
            stream: leave them on the disk.
            cache: where decoded images are kept, None if nowhere.
            deep: counts the images with 16 bits per channel.
        """
        key = None
        if cache is not None and self.files is not None and len(rows) >= SMALLEST:
            files, what = self.files(rows)
            key = cache.key(files, rows, f"{what}, size {size}")
        if cache is None or key is None:
            if stream:
                return EncodedImages.checked(self.encoded, rows, size, deep)
            return stack(self.encoded(rows), len(rows), size=size, deep=deep)
        decoded = cache.find(key[0])
        if decoded is not None:
            return decoded if stream else decoded.read(np.arange(len(rows)))
        if not stream:
            array = stack(self.encoded(rows), len(rows), size=size, deep=deep)
            cache.write(*key, iter([array]), array.shape)
            return array
        images = EncodedImages.checked(self.encoded, rows, size, deep)
        blocks = (images.read(rows[i : i + FETCH]) for i in range(0, len(rows), FETCH))
        return cache.write(*key, blocks, (len(rows), *images.shape)) or images


def _files_at(
    files: Callable[[np.ndarray], tuple[Sequence[str], str]], rows: np.ndarray, chosen: np.ndarray
) -> tuple[Sequence[str], str]:
    return files(rows[chosen])


@dataclass(frozen=True)
class Table:
    """Both parts of a source and its class names.

    Args:
        train, test: the parts.
        classes: names of the classes, one per label 0..K-1.
        notes: what the user should know about how the source was read, one line each.
        problems: what is wrong with the source unless rows were deleted from it on purpose.
        id_columns: as for `Data`.

    >>> part = Part(np.array([0, 1]), lambda rows: [])
    >>> Table(part, part, ("cat", "dog")).one_numbering
    False
    """

    train: Part
    test: Part
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    id_columns: IdColumns = NO_COLUMNS

    @property
    def one_numbering(self) -> bool:
        """Whether both parts have numbers of their own that do not overlap."""
        train, test = self.train.numbers, self.test.numbers
        return train is not None and test is not None and not np.isin(test, train).any()

    def check(self) -> None:
        """Refuse a source with problems, or with labels that do not fit. Raises: CounError."""
        if self.problems:
            raise CounError(self.problems[0])
        check_labels(self.train.labels, self.test.labels, self.classes)

    def kept_rows(self, limit: int | None, test_limit: int | None) -> list[Tensor]:
        """The positions in each part of the rows that the limits keep."""
        labels = [torch.from_numpy(part.labels) for part in (self.train, self.test)]
        return kept_rows(labels, (limit, test_limit))

    def read(
        self,
        limit: int | None = None,
        test_limit: int | None = None,
        *,
        size: int | None = None,
        partial: bool = False,
        stream: bool = False,
        cache: Cache | None = None,
    ) -> Data:
        """Decode the rows that the limits keep, and no others.

        The rows are those that `examples.limited` would keep of the whole; `numbers`
        count in the whole source.

        Args:
            limit, test_limit: numbers of rows to keep; all by default.
            size: as for `coun.data.images.decode`.
            partial: accept classes that lost all their training rows, and other `problems`.
            stream: leave the images on the disk until they are needed.
            cache: where decoded images are kept, None if nowhere.

        Raises: CounError for labels that do not fit, and for images that cannot be used.
        """
        if not partial:
            self.check()
        rows, test_rows = self.kept_rows(limit, test_limit)
        if cache is not None:
            cache.remove_stale()
        deep = DeepImages()
        train, test = (
            part.images(selected.numpy(), size=size, stream=stream, cache=cache, deep=deep)
            for part, selected in ((self.train, rows), (self.test, test_rows))
        )
        deep.say()
        shapes = [x.shape[-3:] for x in (train, test)]
        channels = max(shape[0] for shape in shapes)
        examples = self.train.examples(train, rows, channels)
        return Data(
            examples,
            self.test.examples(test, test_rows, channels),
            self.classes,
            Views.for_images((channels, *shapes[0][1:]), examples),
            limit=limit,
            one_numbering=self.one_numbering,
            notes=self.notes,
            id_columns=self.id_columns,
        )
