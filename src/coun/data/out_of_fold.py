"""What models that never saw a row say of it, for every training row: the prepared predictions."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from coun.data.data_set import Data
from coun.data.examples import Examples
from coun.errors import CounError, counted, first_line
from coun.files import atomically

SUM_TOLERANCE = 1e-3  # of the probabilities of one row
LEAST = 1e-12  # in place of a probability of 0, whose log-odds would be infinite


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """Predictions for training rows by models that had not seen them (out-of-fold predictions).

    Cross-validation gives them: the data are divided into folds, and the model of each fold is
    trained on all other folds. Several divisions (repeats) give several predictions for each row,
    whose mean is less noisy.

    Args:
        ids: the N ids of the rows.
        log_probabilities: (R, N, K) float32, natural logarithms, by repeat, row and class.
        classes: the K class names.

    Raises: CounError if shapes do not fit together, an id occurs twice, or the probabilities of
        a row do not sum to 1.

    >>> half = torch.full((1, 2, 2), 0.5).log()
    >>> OutOfFold(("a", "b"), half, ("cat", "dog")).repeats
    1
    """

    ids: tuple[str, ...]
    log_probabilities: Tensor
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        table = self.log_probabilities
        shape = (len(self.ids), len(self.classes))
        if table.ndim != 3 or table.shape[1:] != shape or not table.shape[0]:
            raise CounError(
                f"out-of-fold predictions have the shape {tuple(table.shape)}; expected (repeats, "
                f"rows, classes) with {shape[0]:,} rows and {shape[1]} classes"
            )
        if len(set(self.ids)) != len(self.ids):
            raise CounError("an id occurs twice in the out-of-fold predictions; expected once")
        wrong = ~((table.double().exp().sum(2) - 1).abs() < SUM_TOLERANCE).all(0)
        if bool(wrong.any()):
            row = self.ids[int(wrong.nonzero()[0])]
            raise CounError(
                f"the out-of-fold probabilities of row {row} do not sum to 1; expected "
                "probabilities of every class, or their logarithms"
            )

    @property
    def repeats(self) -> int:
        """How many predictions there are for each row."""
        return len(self.log_probabilities)

    @cached_property
    def _places(self) -> Mapping[str, int]:
        return {name: place for place, name in enumerate(self.ids)}

    def of(self, examples: Examples) -> Tensor:
        """Return the predictions of *examples*, (R, n, K), matched by id.

        Raises: CounError if there is no prediction for one of the rows.
        """
        missing = [name for name in examples.ids if name not in self._places]
        if missing:
            raise CounError(
                f"there are no out-of-fold predictions for {counted(len(missing), 'row')}, such as "
                f"{missing[0]}; prepare again (coun prepare --overwrite), or choose another method"
            )
        return self.log_probabilities[:, [self._places[name] for name in examples.ids]]

    def restricted(self, examples: Examples) -> OutOfFold:
        """Return the predictions of *examples* only, without those of any other row."""
        return replace(self, ids=tuple(examples.ids), log_probabilities=self.of(examples))

    def check(self, data: Data, rows: Tensor) -> None:
        """Refuse predictions that are not of *data*.

        Args: rows: the positions in `data.train` that need a prediction.

        Raises: CounError for other classes, or rows without a prediction.
        """
        if self.classes != tuple(data.classes):
            raise CounError(
                f"the out-of-fold predictions are of the classes {', '.join(self.classes[:5])}; "
                f"expected those of the data, {', '.join(data.classes[:5])}, in the same order"
            )
        self.of(data.train.take(rows))

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of ids, classes and predictions, in hexadecimal."""
        names = json.dumps([self.ids, self.classes], ensure_ascii=False).encode()
        table = self.log_probabilities.numpy().astype("<f4").tobytes()
        return hashlib.sha256(hashlib.sha256(names).digest() + table).hexdigest()

    def save(self, path: Path) -> None:
        """Write the predictions as an npz file, whole or not at all."""
        # Given a path, NumPy would add ".npz" to its name.
        with atomically(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(
                file,
                ids=np.array(self.ids, dtype=np.str_),
                log_probabilities=self.log_probabilities.numpy().astype(np.float32),
                classes=np.array(self.classes, dtype=np.str_),
            )

    @classmethod
    def load(cls, path: Path, data: Data) -> OutOfFold:
        """Read an npz file that `save` wrote, or one that a user made.

        The file holds `log_probabilities`, or `probabilities`, (N, K) or (R, N, K). Without
        `ids` the rows are those of `data.train`, in their order; without `classes` the classes
        are those of *data*.

        Args:
            path: the file.
            data: what the predictions are of.

        Raises: CounError if the file is missing or damaged, or its shape does not fit *data*.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                content = {name: file[name] for name in file.files}
        except Exception as error:  # damaged archives raise anything from EOFError to zlib.error
            reason = "it does not hold arrays of numbers and texts"
            if isinstance(error, OSError):
                reason = first_line(error)
            raise CounError(f"cannot read {path}: {reason}; expected an npz file") from None
        names = ("log_probabilities", "probabilities")
        array_name = next((name for name in names if name in content), None)
        if array_name is None:
            raise CounError(f"{path} holds {sorted(content)}; expected {' or '.join(names)}")
        if all(name in content for name in names):
            raise CounError(f"{path} holds {' and '.join(names)}; expected one of them")
        if content[array_name].dtype.kind not in "fiu":
            raise CounError(
                f"{array_name} in {path} is {content[array_name].dtype}; expected numbers"
            )
        table = torch.from_numpy(np.asarray(content[array_name], np.float64))
        if array_name == "probabilities":
            table = table.clamp(min=LEAST).log()
        table = torch.where(table.isneginf(), math.log(LEAST), table)
        table = table[None] if table.ndim == 2 else table
        ids = tuple(map(str, content["ids"].tolist())) if "ids" in content else tuple(data.ids)
        classes = content["classes"].tolist() if "classes" in content else data.classes
        return cls(ids, table.float(), tuple(map(str, classes)))
