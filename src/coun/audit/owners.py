"""Rows that belong together: whole customers are permuted, because their rows are correlated."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from coun.data import Data, Split
from coun.data.lazy import subset
from coun.errors import CounError
from coun.metrics.arrays import Ints


def read_owners(path: str | Path) -> dict[str, str]:
    """Read which owner each row belongs to: a csv file with the columns id and owner.

    A header line is optional. Rows that the file does not name belong to nobody else.

    Raises: CounError if the file cannot be read, a line has no two columns, or an id occurs twice.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
        lines = list(csv.reader(text.splitlines(), strict=True))  # else a quote hides other rows
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CounError(f"cannot read groups {path}: {error}".splitlines()[0]) from None
    owners: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line or (number == 1 and [c.strip().lower() for c in line][:1] == ["id"]):
            continue
        if len(line) != 2:
            raise CounError(f"{path} line {number}: {len(line)} columns; expected id,owner")
        row, owner = (cell.strip() for cell in line)
        if row in owners:
            raise CounError(f"{path} line {number}: id '{row}' occurs twice; expected once")
        owners[row] = owner
    if not owners:
        raise CounError(f"{path} names no row; expected lines with id,owner")
    return owners


def owner_numbers(owners: Mapping[str, str], data: Data, split: Split) -> tuple[Ints, Ints]:
    """Give each forgotten row (M,) and each test row (O,) the number of its owner.

    Test rows are looked up only if their ids are not also ids of training rows.

    Raises: CounError if no forgotten row has an owner.
    """
    train = subset(data.train, split.rows(data, "forgotten"))
    test = subset(data.test, split.test_rows(data))
    distinct = not set(test.ids) & set(data.train.ids)
    names = [owners.get(row, f"train row {row}") for row in train.ids]
    if not set(train.ids) & set(owners):
        raise CounError("the groups name no forgotten row; expected the ids of the data source")
    others = [
        owners.get(row, f"test row {row}") if distinct else f"test row {row}" for row in test.ids
    ]
    numbers = np.unique(names + others, return_inverse=True)[1].astype(np.int64)
    return numbers[: len(names)], numbers[len(names) :]
