"""Every row of one finer class, in data whose classes were merged."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from coun.data.data_set import Data
from coun.data.requests.base import Request
from coun.data.requests.whole_class import class_label
from coun.errors import CounError


class Subclass(Request):
    """Forget every row of one class of a finer labelling, such as "maple" among the trees.

    Args:
        name: the finer class, by name or label.
        column: the label column of the source that holds the finer classes; empty where the
            data knows its finer classes itself (`Data.finer`).

    >>> Subclass(name="maple_tree", column="fine_label").describe()
    "subclass 'maple_tree' of column fine_label"
    """

    kind: Literal["subclass"] = "subclass"
    name: str
    column: str = ""

    def choose(self, data: Data, *, seed: int = 0, scores: Any = None) -> Tensor:
        finer = self._finer(data).train
        label = class_label(self._finer(data), self.name)
        mask = torch.isin(data.train.numbers, finer.numbers[finer.labels.cpu() == label])
        if not mask.any():
            raise CounError(f"subclass '{self.name}' has no training row; nothing to forget")
        return mask

    def describe(self) -> str:
        return f"subclass '{self.name}'" + f" of column {self.column}" * bool(self.column)

    def _finer(self, data: Data) -> Data:
        if data.finer is not None:
            return data.finer()
        if not self.column or not data.source:
            raise CounError(
                "a subclass request needs a second label column of an hf: source; name the column"
                " and the class, or list the rows"
            )
        from coun.data.sources import load, takes  # sources know nothing of requests

        if not takes(data.source, "label_column"):
            raise CounError(
                f"{data.source} has no second label column, which a subclass request needs; list "
                "the rows instead"
            )
        origin = {key: name for key, name in data.origin.items() if key != "test_limit"}
        return load(data.source, **{**origin, "label_column": self.column})
