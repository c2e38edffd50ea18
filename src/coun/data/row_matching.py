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

MAY_BE_MISSING = ("forget", "earlier", "held_out")  # roles of rows that may be deleted


class CurrentRows(NamedTuple):
    """The rows of data, training rows first, with labels as the record counts them."""

    ids: tuple[str, ...]
    numbers: np.ndarray
    labels: np.ndarray
    hashes: np.ndarray
    in_training: np.ndarray

    @classmethod
    def of(cls, data: Data, classes: Sequence[str]) -> CurrentRows:
        strange = [name for name in data.classes if name not in classes]
        if strange:
            raise CounError(
                f"the data has a class '{strange[0]}' that the run's data lacked; remove it, or "
                "train again"
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
        wanted = np.flatnonzero(table.parts == part)
        offered = np.flatnonzero(current.in_training == (part == "train"))
        if table.one_numbering:  # a part was held out: rows change parts as others are deleted
            wanted, offered = np.arange(len(place)), np.arange(len(current.ids))
        if part in table.named:
            by_name = {current.ids[row]: row for row in offered}
            place[wanted] = [by_name.get(table.ids[row], -1) for row in wanted]
        elif _same(current, offered, table, wanted):
            place[wanted] = offered
        else:
            place[wanted] = _by_content(current, offered, table, wanted)
    return place


def _same(current: CurrentRows, offered: np.ndarray, table: RowTable, wanted: np.ndarray) -> bool:
    return np.array_equal(current.numbers[offered], table.numbers[wanted]) and np.array_equal(
        current.hashes[offered], table.hashes[wanted]
    )


def _by_content(
    current: CurrentRows, offered: np.ndarray, table: RowTable, wanted: np.ndarray
) -> list[int]:
    """Positions of rows with the same pixels and label, or else of the row of that number.

    Of copies, those that must be there come first, and then they keep their order.
    """
    groups: dict[tuple[bytes, int], list[int]] = defaultdict(list)
    for row in offered.tolist():
        groups[current.hashes[row].tobytes(), current.labels[row]].append(row)
    claims: dict[tuple[bytes, int], list[int]] = defaultdict(list)
    for row in wanted.tolist():
        claims[table.hashes[row].tobytes(), table.labels[row]].append(row)
    place: dict[int, int] = {}
    for key, rows in claims.items():
        needed = sorted(rows, key=lambda row: (table.roles[row] in MAY_BE_MISSING, row))
        positions = groups.get(key, [])
        place.update(zip(sorted(needed[: len(positions)]), positions, strict=False))
    if len(offered) == len(wanted) and not table.limited:
        # Nothing was deleted: a row of unknown content is one that was changed. It keeps its
        # number, and the message says so.
        taken = set(place.values())
        free = {int(current.numbers[row]): row for row in offered.tolist() if row not in taken}
        changed = [row for row in wanted.tolist() if row not in place]
        place.update({row: free.pop(int(table.numbers[row]), -1) for row in changed})
    return [place.get(row, -1) for row in wanted.tolist()]


def joined(*tensors: Tensor) -> np.ndarray:
    """Tensors one after the other, on the CPU."""
    return torch.cat([tensor.cpu() for tensor in tensors]).numpy()
