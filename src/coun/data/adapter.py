"""Data from what Python already holds: arrays, or map-style datasets of (image, label)."""

from __future__ import annotations

import operator
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from coun.data.checks import check_labels, checked_ids, first_line, numbered
from coun.data.examples import Data, Examples, NamedRows, TensorExamples
from coun.data.images import pixels
from coun.data.transforms import ViewsLike, as_views
from coun.data.views import Views
from coun.errors import CounError

IN_MEMORY = 2 * 2**30  # bytes; larger parts are streamed by default


def from_arrays(
    x_train: Any,
    y_train: Any,
    x_test: Any,
    y_test: Any,
    *,
    classes: Sequence[str] | None = None,
    views: ViewsLike | None = None,
    ids: Sequence[str] | None = None,
    test_ids: Sequence[str] | None = None,
) -> Data:
    """Make data from images and integer labels.

    Args:
        x_train, x_test: uint8 (N, H, W), (N, H, W, 1 or 3) or (N, 1 or 3, H, W), or float (N, ...).
        y_train, y_test: (N,) integers 0..K-1.
        classes: K names; "0".."K-1" by default, K the largest training label plus one.
        views: the transform, or a pair (training transform, test transform) of torchvision or
            albumentations; by default `Views.for_images` for uint8 and none for float.
        ids, test_ids: a unique name per row of a part; by default its row number.

    Raises:
        CounError: shapes, types, labels or ids that do not fit; names the array or the row.

    >>> x, y = np.zeros((4, 8, 8), np.uint8), [0, 1, 0, 1]
    >>> from_arrays(x, y, x, y, ids=["ann", "ben", "cid", "dan"]).ids[2]
    'cid'
    """
    parts = []
    for name, *arrays in (("train", x_train, y_train, ids), ("test", x_test, y_test, test_ids)):
        try:
            parts.append(TensorExamples.of(*arrays))
        except CounError as error:
            raise CounError(f"x_{name}, y_{name}: {error}") from None
    return _data(parts[0], parts[1], classes, views)


def from_dataset(
    train: Any,
    test: Any,
    *,
    classes: Sequence[str] | None = None,
    views: ViewsLike | None = None,
    stream: bool | None = None,
    ids: Sequence[str] | None = None,
    test_ids: Sequence[str] | None = None,
) -> Data:
    """Make data from map-style datasets: `len(d)`, and `d[i]` that gives (image, label).

    An image is a PIL image, or an array or tensor of uint8 or float, (H, W), (H, W, C) or
    (C, H, W) with C 1 or 3; all of one shape. Give the datasets without random transforms:
    `views` draws those. Float images count as transformed already: they stay float, and
    `views` is then `Views(letters="")` unless given.

    Args:
        classes: names; by default `train.classes` if it has them, else numbers.
        stream: False reads everything once into memory, True reads images at every access,
            which keeps peak memory independent of the size. None streams a part that
            takes more than 2 GiB. Streamed labels come from `.targets` or `.labels` where
            the dataset has them, else from one pass.
        ids, test_ids: a unique name per row of a part; by default its row number.

    Raises:
        CounError: an item that is not such a pair, or that fails; names the row.

    >>> pairs = [(np.zeros((8, 8), np.uint8), label) for label in (0, 1)]
    >>> from_dataset(pairs, pairs, classes=["cat", "dog"]).shape
    (1, 8, 8)
    """
    parts = [
        _examples(dataset, part, stream, names)
        for dataset, part, names in ((train, "train", ids), (test, "test", test_ids))
    ]
    if classes is None:
        classes = getattr(train, "classes", None)
    return _data(parts[0], parts[1], classes, views)


@dataclass(frozen=True, eq=False)
class StreamedExamples(NamedRows):
    """Examples that stay in a map-style dataset until they are fetched.

    Args:
        dataset: gives (image, label) for each position in `places`.
        labels, numbers: (N,) int64, in memory.
        like: one image (C, H, W), or float of any shape; all others must have its shape and type.
        part: "train" or "test", for errors.
        places: positions in *dataset*, (N,) int64. They differ from `numbers` where a record
            numbered the rows before some were deleted.
        names: one id per row; None where the row numbers serve as ids.
    """

    dataset: Any
    labels: Tensor
    numbers: Tensor
    like: Tensor
    part: str
    places: Tensor
    names: Sequence[str] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def fetch(self, rows: Tensor) -> Tensor:
        """Images of *rows* (B, C, H, W), read now; refuses a label that changed since."""
        out = self.like.new_empty((len(rows), *self.like.shape))
        listed = zip(self.places[rows].tolist(), self.labels[rows].tolist(), strict=True)
        for i, (row, label) in enumerate(listed):
            out[i], item_label = self.item(row)
            if item_label != label:
                raise CounError(
                    f"{self.part} row {row} has label {item_label} but the dataset lists {label}; "
                    "both must be equal (does a target transform change it?)"
                )
        return out

    def take(self, rows: Tensor) -> StreamedExamples:
        return replace(
            self,
            labels=self.labels[rows],
            numbers=self.numbers[rows],
            places=self.places[rows],
            names=self.names_at(rows),
        )

    def in_memory(self) -> TensorExamples:
        """All images and their labels, in one pass over the dataset."""
        out = self.like.new_empty((len(self), *self.like.shape))
        labels = self.labels.clone()
        for row, place in enumerate(self.places.tolist()):
            out[row], labels[row] = self.item(place)
        return TensorExamples(out, labels, self.numbers, self.names)

    def item(self, row: int) -> tuple[Tensor, int]:
        """Image and label of one row of the dataset; the image fits `like`."""
        image, label = _item(self.dataset, row, self.part)
        if image.ndim == 3 and image.shape == (1, *self.like.shape[1:]):
            image = image.expand_as(self.like)  # grey among colour
        if image.dtype != self.like.dtype or image.shape != self.like.shape:
            raise CounError(
                f"{self.part} row {row} is {image.dtype} {tuple(image.shape)}; expected "
                f"{self.like.dtype} {tuple(self.like.shape)} like row 0"
            )
        return image, label


def _examples(dataset: Any, part: str, stream: bool | None, ids: Sequence[str] | None) -> Examples:
    try:
        count = len(dataset)
    except TypeError:
        raise CounError(
            f"the {part} dataset ({type(dataset).__name__}) has no length; expected a map-style one"
        ) from None
    if count == 0:
        raise CounError(f"the {part} dataset is empty; expected at least one item")
    like, _ = _item(dataset, 0, part)
    names = None if ids is None else checked_ids(ids, count)
    places = torch.arange(count)
    lazy = StreamedExamples(dataset, torch.zeros_like(places), places, like, part, places, names)
    if stream is False or (stream is None and like.nbytes * count <= IN_MEMORY):
        return lazy.in_memory()
    return replace(lazy, labels=torch.tensor(list(_listed(lazy))))


def _listed(lazy: StreamedExamples) -> Iterator[int]:
    """The labels without the images where the dataset lists them, else in one pass."""
    listed = getattr(lazy.dataset, "targets", None)
    if listed is None:
        listed = getattr(lazy.dataset, "labels", None)
    if listed is None:
        for row in range(len(lazy)):
            yield lazy.item(row)[1]
        return
    if len(listed) != len(lazy):
        raise CounError(f"the {lazy.part} dataset lists {len(listed)} labels for {len(lazy)} items")
    for row, label in enumerate(listed):
        yield _label(label, row, lazy.part)


def _item(dataset: Any, row: int, part: str) -> tuple[Tensor, int]:
    try:
        pair = dataset[row]
    except Exception as error:  # whatever the user's own code raises; it stays the cause
        raise CounError(
            f"{part} row {row} cannot be read: {type(error).__name__}: {first_line(error)}"
        ) from error
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise CounError(
            f"{part} row {row} is a {type(pair).__name__}; expected a pair (image, label)"
        )
    return _image(pair[0], row, part), _label(pair[1], row, part)


def _label(value: Any, row: int, part: str) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise CounError(
            f"{part} row {row} has a label of type {type(value).__name__}; expected an integer"
        ) from None


def _image(value: Any, row: int, part: str) -> Tensor:
    """(C, H, W) uint8 or float32; float of other shapes as it is."""
    pil = sys.modules.get("PIL.Image")  # a PIL image exists only if this was imported
    if pil is not None and isinstance(value, pil.Image):
        return torch.from_numpy(pixels(value, f"{part} row {row}").copy())
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(np.require(value, requirements=["C", "W"]))
    if not isinstance(value, Tensor) or not (
        value.dtype == torch.uint8 or value.is_floating_point()
    ):
        kind = value.dtype if isinstance(value, Tensor) else type(value).__name__
        raise CounError(
            f"{part} row {row} has an image of type {kind}; expected a PIL image, or an array "
            "or tensor of uint8 or float"
        )
    x = value.detach().cpu()
    if x.ndim == 2 and x.dtype == torch.uint8:
        x = x[None]
    elif x.ndim == 3 and x.shape[0] not in (1, 3) and x.shape[2] in (1, 3):
        x = x.permute(2, 0, 1)
    if x.dtype == torch.uint8 and (x.ndim != 3 or x.shape[0] not in (1, 3)):
        raise CounError(
            f"{part} row {row} has shape {tuple(x.shape)}; expected (H, W), (H, W, 1 or 3) "
            "or (1 or 3, H, W)"
        )
    return x if x.dtype == torch.uint8 else x.float()


def _data(
    train: Examples, test: Examples, classes: Sequence[str] | None, views: ViewsLike | None
) -> Data:
    labels, held = train.labels.numpy(), test.labels.numpy()
    names = numbered(labels) if classes is None else tuple(str(name) for name in classes)
    check_labels(labels, held, names)
    first = train.fetch(torch.tensor([0]))
    if views is None:
        # Float pixels are taken as normalised already.
        plain = first.is_floating_point()
        views = Views(letters="") if plain else Views.for_images(tuple(first.shape[1:]))
    return Data(train, test, names, as_views(views))
