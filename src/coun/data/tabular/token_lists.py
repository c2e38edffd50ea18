"""Columns of token ids as tensors of one length, where negative ids are padding."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from coun.data.data_set import Data
from coun.data.examples import TensorExamples
from coun.data.row_views import TokenViews
from coun.data.sources.table import Table
from coun.data.tokens import MASK, SEGMENTS, TOKENS, padded, second_text, vocabulary_of
from coun.errors import CounError

LONGEST = 512  # tokens of a text that are kept by default


def encode(table: pa.Table, *, length: int) -> Tensor:
    """Return the token ids (N, *length*) int64 of all rows of *table*.

    Raises: CounError for columns that do not hold lists of token ids, and names the row.
    """
    masks = _lists(table, MASK) if MASK in table.column_names else None
    if SEGMENTS in table.column_names and any(any(row) for row in _lists(table, SEGMENTS)):
        raise CounError(second_text("the table"))
    return padded(_lists(table, TOKENS), masks, length)


def columns(names: Iterable[str]) -> list[str]:
    """Those of *names* that hold the tokens of texts."""
    return [name for name in (TOKENS, MASK, SEGMENTS) if name in names]


def as_data(
    table: Table,
    train: pa.Table,
    test: pa.Table,
    length: int | None,
    recorded: Mapping[str, Any] | None,
) -> Data:
    """Return the texts of a source as data.

    Args:
        table: what the source says of its rows; the images that it names are not looked at.
        train, test: the columns of tokens of the same rows.
        length: number of tokens to keep; by default that of the longest training text, `LONGEST`
            at most.
        recorded: length and vocabulary of an earlier reading, which later deletions must not
            change.

    Raises: CounError for labels or tokens that cannot be used.
    """
    if recorded is None:
        table.check()
        recorded = {"length": length or min(longest(train), LONGEST)}
    train_part, test_part = (
        TensorExamples(
            encode(lists, length=recorded["length"]),
            torch.from_numpy(part.labels),
            torch.from_numpy(part.row_numbers),
            None if part.names is None else tuple(part.names),
        )
        for part, lists in ((table.train, train), (table.test, test))
    )
    recorded = {"vocabulary": vocabulary_of(train_part, test_part), **recorded}
    return Data(
        train_part,
        test_part,
        table.classes,
        TokenViews(),
        origin={"encoding": recorded},
        one_numbering=table.one_numbering,
        notes=table.notes + cut(train, recorded["length"]),
        id_columns=table.id_columns,
        vocabulary=recorded["vocabulary"],
    )


def longest(table: pa.Table) -> int:
    """The number of tokens of the longest text."""
    return max(map(len, _lists(table, TOKENS)))


def cut(table: pa.Table, length: int) -> tuple[str, ...]:
    """Say how many texts have more than *length* tokens."""
    count = sum(len(row) > length for row in _lists(table, TOKENS))
    if not count:
        return ()
    return (f"{count:,} texts are cut to {length} tokens; --length keeps more",)


def _lists(table: pa.Table, name: str) -> list[list[int]]:
    """The lists of integers in a column."""
    if name not in table.column_names:
        raise CounError(
            f"there is no column '{name}' of token ids; columns: {', '.join(table.column_names)}"
        )
    column = table[name]
    kind = column.type
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    if not any(test(kind) for test in lists) or not pa.types.is_integer(kind.value_type):
        raise CounError(f"column '{name}' has type {kind}; expected lists of integers")
    rows: list[list[int]] = column.to_pylist()
    for number, row in enumerate(rows):
        if not row or None in row:
            raise CounError(f"row {number} has a missing value in '{name}'; expected token ids")
    return rows
