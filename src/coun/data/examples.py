"""Labelled rows addressed by position, and the train/test pair every run starts from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor

from coun.data.checks import checked_ids
from coun.data.transforms import as_views, check_single
from coun.data.views import Transform
from coun.errors import CounError, require_type

if TYPE_CHECKING:
    from coun.data.canaries import Canaries

TOKEN_TYPES = (torch.int16, torch.int32, torch.int64)  # of token ids; uint8 means pixels
SHOWN = 5  # classes that a description lists
FETCH = 1024  # rows read at a time when a whole set is walked through


class Examples(Protocol):
    """Labelled images that are addressed by their position, 0..N-1.

    A class of your own needs these members only; `NamedRows` gives it `ids` and `index`. A
    class with `index` in place of `numbers` and `ids`, as in version 0.1, is accepted as well.
    Labels, numbers and ids are in memory; images need not be.
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
            images: uint8 (N, H, W), (N, H, W, 1 or 3) or (N, 1 or 3, H, W), float (N, ...), or
                token ids of texts, (N, T) of any other integer type, where negative ids are
                padding.
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
            x = _channels_first(x) if x.dtype == torch.uint8 else x.float()
        if len(x) != len(y):
            raise CounError(f"{len(x)} images but {len(y)} labels; expected one label per image")
        if x.is_floating_point() and not x.isfinite().all():
            row = int((~x.isfinite()).flatten(1).any(1).nonzero()[0])
            raise CounError(f"image {row} has a value that is not finite; expected numbers")
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
        given = "".join(f", {k} {v}" for k, v in options.items() if v is not None)
        held = all(isinstance(part, TensorExamples) for part in (self.train, self.test))
        lines = [
            f"Data: {self.source or 'made in Python'}{given}",
            f"  {len(self.train):,} training rows, {len(self.test):,} test rows, "
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
        blank = torch.zeros((2, *self.shape), dtype=self.dtype)
        return tuple(self.views.evaluate(blank).shape[1:])

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


def limited(data: Data, limit: int | None, test_limit: int | None = None) -> Data:
    """Cut *data* to stratified, seeded subsets; a part without a limit stays whole.

    Classes keep their shares (largest remainders first); rows keep their source order.

    Args: limit, test_limit: numbers of training and test rows to keep.
    """
    train, test = kept_rows((data.train.labels, data.test.labels), (limit, test_limit))
    if limit is not None:
        data = replace(data, train=data.train.take(train), limit=limit)
    return data if test_limit is None else replace(data, test=data.test.take(test))


def kept_rows(labels: Iterable[Tensor], limits: Iterable[int | None]) -> list[Tensor]:
    """The rows of the training and the test part that `--limit` and `--test-limit` keep."""
    return [
        torch.arange(len(part)) if limit is None else stratified(part, limit, 0, what=what)
        for part, limit, what in zip(labels, limits, ("--limit", "--test-limit"), strict=True)
    ]


def stratified(labels: Tensor, count: int, seed: int, *, what: str = "subset") -> Tensor:
    """Positions of a class-balanced random subset of *labels* (N,), sorted, (count,) int64."""
    require_type(count, (int, np.integer), what, "a number of rows")
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
