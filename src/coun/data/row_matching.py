"""Match the rows that a run recorded with those that the data has now, by id or by content."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from coun.data.content import row_hashes
from coun.data.data_set import Data
from coun.errors import CounError

if TYPE_CHECKING:
    from coun.data.row_table import RowTable

FORGOTTEN = ("forget", "earlier")  # roles of rows that may be deleted or labelled otherwise
MAY_BE_MISSING = (*FORGOTTEN, "held_out")  # roles of rows that may be deleted


class CurrentRows(NamedTuple):
    """The rows of data, training rows first, with labels as the record counts them."""

    ids: tuple[str, ...]
    numbers: np.ndarray
    labels: np.ndarray
    hashes: np.ndarray
    in_training: np.ndarray

    @classmethod
    def of(cls, data: Data, classes: Sequence[str]) -> CurrentRows:
        new_classes = [name for name in data.classes if name not in classes]
        if new_classes:
            raise CounError(
                f"the data has a class '{new_classes[0]}' that the run's data lacked; remove it, "
                "or train again"
            )
        recorded = np.array([classes.index(name) for name in data.classes])
        train = np.arange(len(data.train) + len(data.test)) < len(data.train)
        return cls(
            (*data.train.ids, *data.test.ids),
            joined(data.train.numbers, data.test.numbers),
            recorded[joined(data.train.labels, data.test.labels)],
            np.concatenate([row_hashes(data.train), row_hashes(data.test)]),
            train,
        )


def match_rows(current: CurrentRows, table: RowTable) -> np.ndarray:
    """For each row of *table* its position in *current*, or -1; (N,) int64."""
    place = np.full(len(table.ids), -1)
    for part in ("train", "test"):
        rows_of_table = np.flatnonzero(table.parts == part)
        rows_of_data = np.flatnonzero(current.in_training == (part == "train"))
        if table.one_numbering:  # a part was held out: rows change parts as others are deleted
            rows_of_table, rows_of_data = np.arange(len(place)), np.arange(len(current.ids))
        if part in table.named:
            by_name = {current.ids[row]: row for row in rows_of_data}
            place[rows_of_table] = [by_name.get(table.ids[row], -1) for row in rows_of_table]
        elif _same(current, rows_of_data, table, rows_of_table):
            place[rows_of_table] = rows_of_data
        else:
            place[rows_of_table] = _by_content(current, rows_of_data, table, rows_of_table)
    return place


def _same(
    current: CurrentRows, rows_of_data: np.ndarray, table: RowTable, rows_of_table: np.ndarray
) -> bool:
    return np.array_equal(
        current.numbers[rows_of_data], table.numbers[rows_of_table]
    ) and np.array_equal(current.hashes[rows_of_data], table.hashes[rows_of_table])


def _by_content(
    current: CurrentRows, rows_of_data: np.ndarray, table: RowTable, rows_of_table: np.ndarray
) -> list[int]:
    """Positions of rows with the same pixels and label, or else of the row of that number.

    Of copies, those that must be there come first, and then they keep their order. The label of
    a forgotten row may have been put right.
    """
    groups: dict[tuple[bytes, int], list[int]] = defaultdict(list)
    for row in rows_of_data.tolist():
        groups[current.hashes[row].tobytes(), current.labels[row]].append(row)
    claims: dict[tuple[bytes, int], list[int]] = defaultdict(list)
    for row in rows_of_table.tolist():
        claims[table.hashes[row].tobytes(), table.labels[row]].append(row)
    place: dict[int, int] = {}
    for key, rows in claims.items():
        by_importance = sorted(rows, key=lambda row: (table.roles[row] in MAY_BE_MISSING, row))
        positions = groups.get(key, [])
        place.update(zip(sorted(by_importance[: len(positions)]), positions, strict=False))
    taken = set(place.values())
    others = {
        current.hashes[row].tobytes(): row for row in rows_of_data.tolist() if row not in taken
    }
    for row in rows_of_table.tolist():
        if row not in place and table.roles[row] in FORGOTTEN and others:
            place[row] = others.pop(table.hashes[row].tobytes(), -1)
    if len(rows_of_data) == len(rows_of_table) and not table.limited:
        # Nothing was deleted: a row of unknown content is one that was changed. It keeps its
        # number, and the message says so.
        taken = set(place.values())
        free = {int(current.numbers[row]): row for row in rows_of_data.tolist() if row not in taken}
        changed = [row for row in rows_of_table.tolist() if place.get(row, -1) < 0]
        place.update({row: free.pop(int(table.numbers[row]), -1) for row in changed})
    return [place.get(row, -1) for row in rows_of_table.tolist()]


def joined(*tensors: Tensor) -> np.ndarray:
    """Tensors one after the other, on the CPU."""
    return torch.cat([tensor.cpu() for tensor in tensors]).numpy()
