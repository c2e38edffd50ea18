"""Every row of one class."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from coun.data.data_set import Data
from coun.data.requests.base import Request
from coun.errors import CounError, unknown


class Class(Request):
    """Forget every row of one class.

    Args:
        name: the class by name, or its label as text where no class has that name and names
            are not numbers themselves. The prefixes "name:" and "label:" say which one is meant.

    >>> Class(name="cat").describe()
    "class 'cat'"
    """

    kind: Literal["class"] = "class"
    name: str

    def choose(self, data: Data, *, seed: int = 0, scores: Any = None) -> Tensor:
        label = class_label(data, self.name)
        mask = data.train.labels.cpu() == label
        absent = data.absent is not None and bool((data.absent.labels == label).any())
        if not mask.any() and not absent:
            raise CounError(f"class '{data.classes[label]}' has no training row; nothing to forget")
        return mask

    def numbers(self, data: Data, *, seed: int = 0, scores: Any = None) -> Tensor:
        present = super().numbers(data)
        if data.absent is None:
            return present
        absent = data.absent.numbers[data.absent.labels == class_label(data, self.name)]
        return torch.cat([present, absent])

    def completed(self, data: Data, seed: int) -> Class:
        name = data.classes[class_label(data, self.name)]
        ambiguous = _is_label(name, data)
        if ambiguous and int(name) != data.classes.index(name):
            name = f"name:{name}"
        return self.model_copy(update={"name": name})

    def describe(self) -> str:
        return f"class '{self.name}'"


def class_label(data: Data, text: str) -> int:
    """The label of the class that *text* means, by name or by number.

    Raises: CounError for no class, for a text that is the name of one class and the label of
        another, and for a number that is no name although names are numbers.
    """
    way, _, rest = text.partition(":")
    if way == "name" and rest in data.classes:
        return data.classes.index(rest)
    by_name = text in data.classes
    digits = rest if way == "label" else text
    by_label = _is_label(digits, data)
    if by_name and by_label and data.classes.index(text) != int(digits):
        raise CounError(
            f"'{text}' is the name of class {data.classes.index(text)} and the label of class "
            f"'{data.classes[int(digits)]}'; write 'name:{text}' or 'label:{text}'"
        )
    if by_name:
        return data.classes.index(text)
    number = next((name for name in data.classes if name.isdecimal()), None)
    if by_label and way != "label" and number is not None:
        raise CounError(
            f"no class is called '{text}', although names of classes are numbers, such as "
            f"'{number}'; write 'label:{text}' if you mean the label of class "
            f"'{data.classes[int(text)]}'"
        )
    if by_label:
        return int(digits)
    raise unknown("class", (rest if way in ("name", "label") else text)[:60], data.classes)


def _is_label(text: str, data: Data) -> bool:
    # The length test keeps int() away from texts that it refuses to convert.
    return text.isdecimal() and len(text) < 20 and int(text) < len(data.classes)
