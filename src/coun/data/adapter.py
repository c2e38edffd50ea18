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
from torch.utils.data import DataLoader

from coun.data.checks import check_labels, checked_ids
from coun.data.data_set import Data
from coun.data.examples import Examples, TensorExamples
from coun.data.images import pixels
from coun.data.items import Pairs, all_labels, class_names, listed_labels
from coun.data.labels import Coding, coding, label_values
from coun.data.lazy import PlacedRows
from coun.data.row_views import default_views
from coun.data.tokens import from_tokenized, is_tokenized, vocabulary_of
from coun.data.transforms import ViewsLike, as_views
from coun.data.views import Views
from coun.errors import CounError, first_line
from coun.seeds import check_defaults_of_torch

IN_MEMORY = 2 * 2**30  # bytes; larger parts are streamed by default
READ_TWICE = 24  # rows, evenly spaced, that show whether a dataset draws at random


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
    vocabulary: int | None = None,
) -> Data:
    """Make data from images, rows of a table or texts, and integer labels.

    Arrays of up to 2 GiB are copied; larger ones must not be changed afterwards.

    Args:
        x_train, x_test: images, uint8 (N, H, W), (N, H, W, 1 or 3) or (N, 1 or 3, H, W); float
            (N, ...), such as rows of a table (N, D), or images, whose channels may be last as
            well; or token ids of texts (N, T), int16 to int64, where negative ids are padding.
        y_train, y_test: (N,) integers 0..K-1, or text; other integers, such as 10, 20 and 35,
            are classes with these names (`coun.data.labels.coding`).
        classes: K names; by default the labels.
        views: the transform, or a pair (training transform, test transform) of torchvision or
            albumentations; by default `Views.for_images` for uint8, `TableViews` for float
            (N, D), `TokenViews` for token ids, and none for other floats.
        ids, test_ids: a unique name per row of a part; by default its row number.
        vocabulary: for texts, the number of token ids; by default the largest one plus one.

    Raises:
        CounError: shapes, types, labels or ids that do not fit; names the array or the row.

    >>> x, y = np.zeros((4, 8, 8), np.uint8), [0, 1, 0, 1]
    >>> from_arrays(x, y, x, y, ids=["ann", "ben", "cid", "dan"]).ids[2]
    'cid'
    """
    check_defaults_of_torch()
    check_alignment(x_train, y_train, "x_train", "y_train")
    check_alignment(x_test, y_test, "x_test", "y_test")
    values = [label_values(y, part) for y, part in ((y_train, "train"), (y_test, "test"))]
    labels = coding(values[0], classes)
    y_train, y_test = (
        labels.numbers(y, part) for y, part in zip(values, ("train", "test"), strict=True)
    )
    parts = []
    for name, *arrays in (("train", x_train, y_train, ids), ("test", x_test, y_test, test_ids)):
        try:
            examples = TensorExamples.of(*arrays)
            if examples.images.nbytes <= IN_MEMORY:  # what the caller does to its array later
                examples = replace(examples, images=examples.images.clone())  # changes nothing here
            parts.append(examples)
        except CounError as error:
            raise CounError(f"x_{name}, y_{name}: {error}") from None
    data = _data(parts[0], parts[1], labels, views)
    return replace(data, vocabulary=_vocabulary(parts, vocabulary))


def check_alignment(x: Any, y: Any, rows: str, labels: str) -> None:
    """Refuse a table and labels of pandas whose rows are in another order: pairs would be wrong."""
    pandas = sys.modules.get("pandas")
    if pandas is None or not isinstance(x, pandas.DataFrame) or not isinstance(y, pandas.Series):
        return
    if len(x) == len(y) and not x.index.equals(y.index):
        raise CounError(
            f"the index of {labels} is not that of {rows}, so that labels would go to other "
            f"rows; pass {labels}.loc[{rows}.index], or .to_numpy() of both if the order is right"
        )


def from_dataset(
    train: Any,
    test: Any,
    *,
    classes: Sequence[str] | None = None,
    views: ViewsLike | None = None,
    stream: bool | None = None,
    ids: Sequence[str] | None = None,
    test_ids: Sequence[str] | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
) -> Data:
    """Make data from map-style datasets: `len(d)`, and `d[i]` that gives (image, label).

    Items may also be dictionaries, such as `{"image": ..., "label": ...}`, as Hugging Face
    `datasets` give them. Labels may be text, or any integers, as for `from_arrays`.
    Dictionaries with "input_ids" are texts, read as `coun.data.tokens.from_tokenized` does.

    An image is a PIL image, or an array or tensor of uint8 or float, (H, W), (H, W, C) or
    (C, H, W) with C 1 or 3; all of one shape. Give the datasets without random transforms:
    `views` draws those, and a dataset of which some rows differ when they are read again is
    refused. Float images count as transformed already: they stay float, and
    `views` is then `Views(letters="")` unless given.

    Args:
        train, test: the two datasets.
        classes: names; by default those that the training dataset has, else its labels.
        stream: False reads everything once into memory, True reads images at every access,
            which keeps peak memory independent of the size. None streams a part that
            takes more than 2 GiB. Streamed labels come from `.targets` or `.labels` where
            the dataset has them, else from one pass.
        ids, test_ids: a unique name per row of a part; by default its row number.
        image_column, label_column: keys of the dictionaries, where they have no usual name.

    Raises:
        CounError: an item that is not such a pair, or that fails; names the row.

    >>> pairs = [(np.zeros((8, 8), np.uint8), label) for label in (0, 1)]
    >>> from_dataset(pairs, pairs, classes=["cat", "dog"]).shape
    (1, 8, 8)
    """
    check_defaults_of_torch()
    item = _first(train)
    if is_tokenized(item):
        return from_tokenized(train, test, classes=classes, ids=ids, test_ids=test_ids)
    pairs = [
        Pairs.of(dataset, part, item, image_column, label_column)
        for dataset, part in ((train, "train"), (test, "test"))
    ]
    key = pairs[0].label_key if isinstance(pairs[0], Pairs) else None
    if classes is None:
        classes = class_names(train, key)
    labels = _coding(pairs[0], item, key, classes)
    if labels.code is not None:
        pairs = [
            replace(d if isinstance(d, Pairs) else Pairs(d, part), coding=labels)
            for d, part in zip(pairs, ("train", "test"), strict=True)
        ]
    parts = [
        _examples(dataset, part, stream, names)
        for dataset, part, names in zip(pairs, ("train", "test"), (ids, test_ids), strict=True)
    ]
    if labels.code is None:  # only now all labels are read
        labels = coding(parts[0].labels.numpy(), classes)
        if labels.code is not None:
            parts = [
                _recoded(examples, labels, part)
                for examples, part in zip(parts, ("train", "test"), strict=True)
            ]
    return _data(parts[0], parts[1], labels, views)


def _first(dataset: Any) -> Any:
    """The first item; None where it cannot be read, which is said when all rows are read."""
    try:
        return dataset[0] if len(dataset) else None
    except Exception:  # whatever the user's own code raises
        return None


def _coding(train: Any, item: Any, key: Any, classes: Sequence[str] | None) -> Coding:
    """The coding of the labels, where that of the first *item* is text or a float; else none yet,
    because integers are known when all rows are read."""
    try:
        label = item[1 if key is None else key]
    except (TypeError, LookupError):
        return Coding(())
    if isinstance(label, str | float) or "float" in str(getattr(label, "dtype", "")):
        coded = coding(all_labels(train, "train"), classes)
        return coded if coded.code is not None else replace(coded, code=_identity(coded))
    return Coding(())


def _identity(labels: Coding) -> dict[Any, int]:
    return {k: k for k in range(len(labels.classes))}


def _recoded(examples: Examples, labels: Coding, part: str) -> Examples:
    """The same examples with class numbers in place of their labels."""
    numbers = torch.from_numpy(labels.numbers(examples.labels.numpy(), part))
    if isinstance(examples, StreamedExamples):
        dataset = examples.dataset
        pairs = replace(
            dataset if isinstance(dataset, Pairs) else Pairs(dataset, examples.part), coding=labels
        )
        return replace(examples, labels=numbers, dataset=pairs)
    assert isinstance(examples, TensorExamples)
    return replace(examples, labels=numbers)


@dataclass(frozen=True, eq=False, kw_only=True)
class StreamedExamples(PlacedRows):
    """Examples that stay in a map-style dataset until they are fetched.

    Their places are positions in the dataset, which differ from the row numbers where a record
    numbered the rows before some were deleted.

    Args:
        dataset: gives (image, label) for each position in `places`.
        like: one image (C, H, W), or float of any shape; all others must have its shape and type.
        part: "train" or "test", for errors.
    """

    dataset: Any
    like: Tensor
    part: str

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
        if image.is_floating_point() and not image.isfinite().all():
            raise CounError(f"{self.part} row {row} holds NaN or infinity; expected finite numbers")
        if image.ndim == 3 and image.shape == (1, *self.like.shape[1:]):
            image = image.expand_as(self.like)  # grey among colour
        if image.dtype != self.like.dtype or image.shape != self.like.shape:
            raise CounError(
                f"{self.part} row {row} is {image.dtype} {tuple(image.shape)}; expected "
                f"{self.like.dtype} {tuple(self.like.shape)} like row 0"
            )
        return image, label


def _examples(dataset: Any, part: str, stream: bool | None, ids: Sequence[str] | None) -> Examples:
    kind = type(dataset).__name__
    if isinstance(dataset, DataLoader):
        raise CounError(
            f"the {part} data are a {kind}; pass the dataset that it reads: loader.dataset"
        )
    try:
        count = len(dataset)
    except TypeError:
        raise CounError(
            f"the {part} dataset ({kind}) has no length; expected a map-style one, such as "
            "list(dataset)"
        ) from None
    if count == 0:
        raise CounError(f"the {part} dataset is empty; expected at least one item")
    like, _ = _item(dataset, 0, part)
    _refuse_random(dataset, count, part)
    names = None if ids is None else checked_ids(ids, count)
    places = torch.arange(count)
    lazy = StreamedExamples(
        dataset=dataset,
        like=like,
        part=part,
        labels=torch.zeros_like(places),
        numbers=places,
        places=places,
        names=names,
    )
    if stream is False or (stream is None and like.nbytes * count <= IN_MEMORY):
        return lazy.in_memory()
    return replace(lazy, labels=torch.tensor(list(_listed(lazy))))


def _refuse_random(dataset: Any, count: int, part: str) -> None:
    """Refuse a dataset that gives another image or label when it reads some rows again.

    They are many, because a random flip gives an image as it was before in half of the cases.
    """
    for row in sorted({k * (count - 1) // READ_TWICE for k in range(READ_TWICE + 1)}):
        (image, label), (again, label_again) = (_item(dataset, row, part) for _ in range(2))
        # NaN, which differs from itself, is refused with its own words when rows are fetched.
        if label != label_again or not torch.equal(image.nan_to_num(), again.nan_to_num()):
            raise CounError(
                f"{part} row {row} differs between two readings; give the dataset without random "
                "transforms, and these as views=(training transform, test transform)"
            )


def _listed(lazy: StreamedExamples) -> Iterator[int]:
    """The labels without the images where the dataset lists them, else in one pass."""
    listed = listed_labels(lazy.dataset)
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
    except CounError:
        raise
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
            f"{part} row {row} has a label of type {type(value).__name__}; expected an integer, or "
            "text"
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


def _data(train: Examples, test: Examples, labels: Coding, views: ViewsLike | None) -> Data:
    check_labels(train.labels.numpy(), test.labels.numpy(), labels.classes)
    first = train.fetch(torch.tensor([0]))
    views = views or default_views(tuple(first.shape[1:]), first.dtype)
    if views is None:
        # Float pixels are taken as normalised already.
        plain = first.is_floating_point()
        views = Views(letters="") if plain else Views.for_images(tuple(first.shape[1:]), train)
    notes = (labels.note,) if labels.note else ()
    return Data(train, test, labels.classes, as_views(views), notes=notes)


def _vocabulary(parts: Sequence[TensorExamples], vocabulary: int | None) -> int | None:
    """The number of token ids of texts; None where rows are not texts."""
    if parts[0].images.dtype != torch.int64:
        if vocabulary is not None:
            raise CounError(
                "a vocabulary is for token ids, but these rows are not texts; leave it out"
            )
        return None
    needed = vocabulary_of(*parts)
    if vocabulary is not None and vocabulary < needed:
        raise CounError(f"the vocabulary is {vocabulary}, but a token id is {needed - 1}")
    return vocabulary or needed
