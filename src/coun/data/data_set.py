"""The training and the test part that every run starts from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from coun.data.examples import FETCH, Examples, RenamedExamples, TensorExamples
from coun.data.id_columns import NO_COLUMNS, IdColumns
from coun.data.transforms import as_views, check_single
from coun.data.views import Transform
from coun.errors import CounError, counted

if TYPE_CHECKING:
    from coun.data.canaries import Canaries

SHOWN = 5  # classes that a description lists


@dataclass(frozen=True, eq=False)
class AbsentRows:
    """Rows of one part that a record names and that the source no longer has.

    Args:
        numbers, labels: as recorded, (n,) int64.
        ids: as recorded, n names.
        hashes: of their pixels, (n, 16) uint8, None where they are unknown.
        named: (n,) bool, the rows that the forget request of the run names or leaves out of
            measurements; None where no run says so.
    """

    numbers: Tensor
    labels: Tensor
    ids: Sequence[str]
    hashes: np.ndarray | None = None
    named: Tensor | None = None

    @classmethod
    def none(cls) -> AbsentRows:
        """No rows."""
        empty = torch.zeros(0, dtype=torch.int64)
        return cls(empty, empty, (), np.empty((0, 16), np.uint8))


@dataclass(frozen=True, eq=False, repr=False)
class Data:
    """A training part, a test part and what is known of both.

    Args:
        train, test: the examples; every class of the test part occurs in training.
        classes: names, one per label 0..K-1.
        views: the transform of this data: augmentation for training, normalisation for both.
        source: the spelling that loads it again (`--data`), empty when made in Python.
        limit: the `--limit` that it was cut to, if any.
        origin: further arguments that `load` was given.
        absent, absent_test: training rows and test rows of an earlier run that are deleted by
            now; None if there are none.
        finer: loads the same rows with finer classes, where classes were merged.
        one_numbering: both parts are numbered together, as where a part of one folder is held
            out; a row number then means one row only.
        notes: what the user should know about how the source was read, one line each.
        id_columns: the columns of a source that has columns, and which of them name its rows.
        views_code: the `package.module:factory` that made the views; empty for others.
        canaries: marked rows that were planted for audits (`coun.data.plant`), if any.
        vocabulary: for texts, the number of token ids, which are 0..vocabulary-1.
        shape, dtype: of one image, computed here.

    Raises: CounError for an empty part, a label outside 0..K-1, or two shapes of images.

    >>> import coun
    >>> data = coun.load("digits")
    >>> len(data.train), len(data.test), data.shape, data.ids[5]
    (1438, 359, (1, 8, 8), '5')
    """

    train: Examples
    test: Examples
    classes: tuple[str, ...]
    views: Transform
    source: str = ""
    limit: int | None = None
    origin: dict[str, Any] = field(default_factory=dict)
    absent: AbsentRows | None = None
    absent_test: AbsentRows | None = None
    finer: Callable[[], Data] | None = None
    one_numbering: bool = False
    notes: tuple[str, ...] = ()
    id_columns: IdColumns = NO_COLUMNS
    canaries: Canaries | None = None
    views_code: str = ""
    vocabulary: int | None = None
    shape: tuple[int, ...] = field(init=False)
    dtype: torch.dtype = field(init=False)

    def __repr__(self) -> str:
        """A few lines for people: source, sizes, shape, classes and what is missing.

        >>> import coun
        >>> coun.load("digits", limit=100)
        Data: digits, limit 100
          100 training rows, 359 test rows, 10 classes: 0, 1, 2, 3, 4, ...
          each (1, 8, 8) uint8, held in memory
        """
        names = ", ".join(map(str, self.classes[:SHOWN])) + ", ..." * (len(self.classes) > SHOWN)
        options = {"limit": self.limit, **self.origin}
        listing = "".join(f", {k} {v}" for k, v in options.items() if v is not None)
        held = all(isinstance(part, TensorExamples) for part in (self.train, self.test))
        lines = [
            f"Data: {self.source or 'made in Python'}{listing}",
            f"  {counted(len(self.train), 'training row')}, {counted(len(self.test), 'test row')}, "
            f"{len(self.classes)} classes: {names}",
            f"  each {self.shape} {str(self.dtype).removeprefix('torch.')}, "
            + ("held in memory" if held else "read at each access"),
        ]
        absent = [0 if part is None else len(part.ids) for part in (self.absent, self.absent_test)]
        if any(absent):
            lines.append(f"  deleted by now: {absent[0]:,} training rows, {absent[1]:,} test rows")
        return "\n".join(lines)

    @property
    def canary_numbers(self) -> Tensor:
        """Numbers of the canaries in the training part; every forget request names them."""
        if self.canaries is None:
            return torch.zeros(0, dtype=torch.int64)
        return self.canaries.member_numbers

    def __post_init__(self) -> None:
        for part in ("train", "test"):
            examples = getattr(self, part)
            if not hasattr(examples, "ids"):  # a class written for version 0.1, with `index` only
                renamed = RenamedExamples(examples, examples.labels, examples.index)
                object.__setattr__(self, part, renamed)
        for part, examples in (("training", self.train), ("test", self.test)):
            if len(examples) == 0:
                raise CounError(f"the {part} part is empty; expected at least one row")
            wrong = ((examples.labels < 0) | (examples.labels >= len(self.classes))).nonzero()
            if len(wrong):
                row = int(wrong[0])
                raise CounError(
                    f"{part} row '{examples.ids[row]}' has label {int(examples.labels[row])}; "
                    f"expected 0..{len(self.classes) - 1}"
                )
        seen, held = (x.fetch(torch.tensor([0])) for x in (self.train, self.test))
        if seen.shape != held.shape:
            raise CounError(
                f"training rows are {tuple(seen.shape[1:])} but test rows are "
                f"{tuple(held.shape[1:])}; expected one shape"
            )
        object.__setattr__(self, "views", as_views(self.views))
        check_single(self.views, seen)
        object.__setattr__(self, "shape", tuple(seen.shape[1:]))
        object.__setattr__(self, "dtype", seen.dtype)

    @cached_property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input of a model: of an image after its views."""
        return tuple(blank_inputs(self).shape[1:])

    @property
    def noun(self) -> str:
        """What a row is, in messages: "image", "text", or "row" of a table or of anything else.

        >>> import coun
        >>> coun.load("digits").noun
        'image'
        """
        if self.dtype == torch.int64:
            return "text"
        return "image" if len(self.shape) == 3 else "row"

    @property
    def ids(self) -> Sequence[str]:
        """Ids of the training rows, in the order of `train`."""
        return self.train.ids

    @cached_property
    def named_test_rows(self) -> dict[str, int]:
        """Numbers of the test rows by id; empty where test ids are mere numbers from 0 on."""
        if not self.one_numbering and getattr(self.test, "names", None) is None:
            return {}
        named = dict(zip(self.test.ids, self.test.numbers.tolist(), strict=True))
        absent = self.absent_test or AbsentRows.none()
        return named | dict(zip(absent.ids, absent.numbers.tolist(), strict=True))

    @property
    def test_numbers(self) -> Tensor:
        """Numbers of the test rows, with those that are deleted by now, (n,) int64."""
        absent = self.absent_test or AbsentRows.none()
        return torch.cat([self.test.numbers, absent.numbers])

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


def blank_inputs(data: Data) -> Tensor:
    """Make a batch of two blank rows, as a model sees them, without reading a row.

    Of texts, it has the largest token id, so that a model that takes fewer is found at once.
    """
    rows = torch.zeros((2, *data.shape), dtype=data.dtype)
    if data.vocabulary:
        rows[1, 0] = data.vocabulary - 1
    return data.views.evaluate(rows)
