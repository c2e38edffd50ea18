"""Labels as people have them, text or any integers, turned into class numbers 0..K-1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from coun.errors import CounError, nearest


@dataclass(frozen=True)
class Coding:
    """How labels become class numbers.

    Args:
        classes: names of the classes, one per class number.
        code: the class number of each label; None where labels are class numbers already.
        note: what the user should know about it; empty if nothing.
    """

    classes: tuple[str, ...]
    code: Mapping[Any, int] | None = None
    note: str = ""

    def numbers(self, values: np.ndarray, part: str, first: int = 0) -> np.ndarray:
        """Class numbers (N,) int64 of labels as `label_values` gives them.

        Args: part, first: "train" or "test", and the row of the first label, for errors.

        Raises: CounError for a label without a class.
        """
        text = values.dtype.kind == "U"
        if text != isinstance(next(iter(self.code or [0])), str):
            kinds = ("text", "integers")
            raise CounError(
                f"the {part} labels are {kinds[not text]} but those of the training part, or the "
                f"names of the classes, call for {kinds[text]}; expected one kind"
            )
        if self.code is None:
            return values.astype(np.int64)
        result = [self.code.get(value, -1) for value in values.tolist()]
        if -1 in result:
            row = result.index(-1)
            hint = nearest(str(values[row]), [str(name) for name in self.code])
            raise CounError(
                f"{part} row {row + first} has label '{values[row]}'{hint}, "
                "which is not a class of the training part; remove the row, or name all classes "
                "with classes=..."
            )
        return np.array(result, np.int64)


def label_values(values: Any, part: str, first: int = 0) -> np.ndarray:
    """Labels as an array (N,) of int64 or of text.

    Integers stored as floats are taken as integers.

    Args:
        values: a sequence, array, tensor, or a column of another library.
        part, first: "train" or "test", and the row of the first label, for errors.

    Raises: CounError for a missing label and for what is neither text nor an integer; names
        the row.
    """
    if isinstance(values, Tensor):
        values = values.detach().cpu().numpy()
    try:
        array = np.asarray(values)
    except ValueError:
        raise CounError(f"the {part} labels differ in shape; expected one per row") from None
    if array.ndim == 0:
        raise CounError(f"the {part} labels are {str(values)[:40]!r}; expected one per row")
    if array.size != len(array):
        advice = "one per row (labels.argmax(1) of one-hot labels)"
        if array.ndim == 2 and array.dtype.kind in "buif" and (array.sum(1) != 1).any():
            advice = "one class per row; rows with several classes or none are not supported"
        raise CounError(f"the {part} labels have shape {array.shape}; expected {advice}")
    if np.ma.is_masked(values):
        row = int(np.flatnonzero(np.ma.getmaskarray(values))[0])
        raise CounError(f"{part} row {row + first} has a masked label; remove the row")
    array = array.reshape(-1)
    if array.dtype == object:  # text in which some are missing, or a mixture
        kinds = {type(value) for value in array.tolist()}
        if kinds == {str}:
            return array.astype(str)
        row = next(
            (k for k, value in enumerate(array.tolist()) if not isinstance(value, str | int)), 0
        )
        raise CounError(
            f"{part} row {row + first} has label {array.flat[row]!r} among {len(kinds)} types of "
            "labels; expected text or integers for all rows"
        )
    if array.dtype.kind == "f":
        wrong = np.flatnonzero(~(np.isfinite(array) & (array == np.round(array))))
        if len(wrong):
            raise CounError(
                f"{part} row {wrong[0] + first} has label {array.flat[wrong[0]]}; expected "
                "integers or text (floats serve where they hold integers)"
            )
        return array.astype(np.int64)
    if array.dtype.kind in "iu":
        return array.astype(np.int64)
    if array.dtype.kind in "UT":
        return array.astype(str)
    raise CounError(f"{part} labels have type {array.dtype}; expected integers or text")


def coding(train: np.ndarray, classes: Sequence[object] | None) -> Coding:
    """Decide which classes the labels of the training part name.

    Text names classes in sorted order. Integers are class numbers; but where fewer than every
    second number up to the largest occurs, as with 10, 20 and 35, the integers that occur are
    the classes, with these names. With *classes*, text is looked up there and integers are
    positions in it.

    Args:
        train: labels as `label_values` gives them.
        classes: names of the classes, where the user gave them.

    >>> coding(np.array([35, 10, 20, 10]), None).classes
    ('10', '20', '35')
    >>> coding(np.array(["dog", "cat"]), None).numbers(np.array(["dog"]), "test").tolist()
    [1]
    """
    if classes is not None:
        names = tuple(str(name) for name in classes)
        text = train.dtype.kind == "U"
        return Coding(names, {name: k for k, name in enumerate(names)} if text else None)
    distinct = np.unique(train)
    names = tuple(str(value) for value in distinct.tolist())
    if train.dtype.kind == "U":
        return Coding(names, {name: k for k, name in enumerate(names)})
    highest = int(distinct[-1]) if len(distinct) else -1
    if not len(distinct) or distinct[0] < 0 or 2 * len(distinct) > highest + 1:
        note = ""
        if len(distinct) and distinct[0] >= 0 and len(distinct) <= highest:
            absent = int(np.setdiff1d(np.arange(highest + 1), distinct)[0])
            note = f"labels go from 0 to {highest}, and no training row has label {absent}"
        return Coding(tuple(map(str, range(highest + 1))), None, note)
    note = (
        f"the labels are {len(distinct):,} integers between {distinct[0]} and {highest}; each of "
        "them is a class with that name"
    )
    return Coding(names, {value: k for k, value in enumerate(distinct.tolist())}, note)
