"""A table with a column of labels: its classes, its ids, and which rows are held out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from coun.data.checks import check_class_names, checked_ids
from coun.data.examples import TensorExamples
from coun.data.id_columns import IdColumns
from coun.data.sources.held_out import HeldOut
from coun.data.sources.table import Part
from coun.data.tabular.id_columns import meant_by_ids
from coun.data.tabular.naming import COUNTS_ROWS, names_rows
from coun.data.tabular.tables import (
    class_names,
    is_text,
    labels_of,
    read_parts,
    texts,
)
from coun.errors import CounError, unknown

LABELS = ("label", "labels", "target", "class", "y")  # usual names of the label column


@dataclass(frozen=True)
class LabelledTable:
    """The training and the test part of a table, before features are read.

    Attributes:
        table: the training part, or all rows where a part of them is held out.
        test: the test part; None where it is held out.
        label: name of the label column.
        classes: the labels in training as text, sorted.
        id_columns: as for `Data`; the column of ids is chosen or found.
        train_rows, test_rows: positions in *table* of the training rows and of the rows held
            out, int64.
        notes: what the user should know.
    """

    table: pa.Table
    test: pa.Table | None
    label: str
    classes: tuple[str, ...]
    id_columns: IdColumns
    train_rows: np.ndarray
    test_rows: np.ndarray
    notes: tuple[str, ...]

    @classmethod
    def read(
        cls,
        path: Path,
        label_column: str | None,
        id_column: str | None,
        held_out: HeldOut,
        recorded: Mapping[str, Any] | None,
    ) -> LabelledTable:
        """Read *path*, a file or a folder with a training and a test part.

        Args: recorded: label, classes and column of ids of an earlier reading, which later
            deletions of rows must not change.

        Raises: CounError for a file, a column or a value that cannot be used.
        """
        if recorded and id_column is None:
            id_column = recorded.get("ids")
        table, test = read_parts(path, id_column, hold_out=bool(held_out))
        label = recorded["label"] if recorded else _label_column(table, label_column)
        remark, possible = "", dict[str, frozenset[str]]()
        parts = [table] if test is None else [table, test]
        if id_column is None:
            possible = meant_by_ids(
                *({n: part[n] for n in part.column_names if n != label} for part in parts)
            )
        if id_column is None and not recorded:
            id_column, remark = _naming_column(parts, label)
            if id_column is not None:  # again, because as numbers ids such as 007 lose their zeros
                table, test = read_parts(path, id_column, hold_out=bool(held_out))
                possible = {}
        if label not in table.column_names:
            raise unknown("label column", label, table.column_names)
        values = labels_of(table, label)
        classes = tuple(recorded["classes"]) if recorded else class_names(label, values)
        if not recorded:  # what an earlier version accepted stays readable
            check_class_names(classes)
        id_columns = IdColumns(id_column, possible, frozenset(table.column_names))
        train_rows, notes = np.arange(len(values)), tuple(filter(None, (remark,)))
        test_rows = train_rows[:0]
        if test is None:
            part = Part(_labels(values, classes, label), lambda _: (), names=_ids(table, id_column))
            split = held_out.split(part, classes, id_columns)
            if split.problems and not recorded:
                raise CounError(split.problems[0])
            assert split.train.numbers is not None
            assert split.test.numbers is not None
            train_rows, test_rows = split.train.numbers, split.test.numbers
            notes += split.notes
        return cls(table, test, label, classes, id_columns, train_rows, test_rows, notes)

    @property
    def tested(self) -> pa.Table:
        """The test rows."""
        return self.table.take(pa.array(self.test_rows)) if self.test is None else self.test

    def parts(self, encode: Callable[[pa.Table], Tensor]) -> tuple[TensorExamples, TensorExamples]:
        """Return the training and the test part, with the inputs that *encode* makes of rows."""
        examples = self._examples(self.table, encode)
        train = examples.take(torch.from_numpy(self.train_rows))
        if self.test is None:
            return train, examples.take(torch.from_numpy(self.test_rows))
        return train, self._examples(self.test, encode)

    def _examples(self, table: pa.Table, encode: Callable[[pa.Table], Tensor]) -> TensorExamples:
        labels = _labels(labels_of(table, self.label), self.classes, self.label)
        return TensorExamples(
            encode(table),
            torch.from_numpy(labels),
            torch.arange(len(labels)),
            _ids(table, self.id_columns.column),
        )


def _distinct_columns(
    parts: Sequence[pa.Table], label: str, fits: Callable[[str], object]
) -> list[str]:
    """The columns with such names that have another text or integer in each row."""

    def distinct(column: pa.ChunkedArray) -> bool:
        names_rows = is_text(column.type) or pa.types.is_integer(column.type)
        return names_rows and not column.null_count and len(column.unique()) == len(column)

    return [
        name
        for name in parts[0].column_names
        if name != label
        and fits(name.strip())
        and all(distinct(part[name]) for part in parts if name in part.column_names)
    ]


def _naming_column(parts: Sequence[pa.Table], label: str) -> tuple[str | None, str]:
    """The only column that by its name and values names the rows, and a note; None and "".

    A list of rows to forget holds these names. If row numbers were the ids, a name such as 17
    would mean another row.
    """
    named = _distinct_columns(parts, label, names_rows)
    if len(named) == 1:
        note = "the values of column '{}' are the ids of the rows; --id-column chooses another"
        return named[0], note.format(named[0])
    indexes = _distinct_columns(parts, label, COUNTS_ROWS.fullmatch)
    if named or len(indexes) != 1:
        return None, ""
    index = indexes[0]
    if parts[0][index].to_pylist() == list(range(parts[0].num_rows)):
        return None, ""
    return index, (
        f"the values of column '{index}', the index of pandas, differ from the row numbers and "
        "are the ids of the rows; --id-column chooses another"
    )


def _label_column(table: pa.Table, chosen: str | None) -> str:
    """The *chosen* column of labels, or the only one with a usual name."""
    names = table.column_names
    usual = [name for name in names if name.lower() in LABELS]
    if chosen is None and len(usual) != 1:
        raise CounError(
            f"{len(usual) or 'no'} columns are called {', '.join(LABELS)}; choose the label with "
            f"--label-column; columns: {', '.join(names)}"
        )
    return chosen or usual[0]


def _labels(values: Sequence[str], classes: Sequence[str], column: str) -> np.ndarray:
    """Labels (N,) int64 of the *values* of the label column."""
    position = {name: number for number, name in enumerate(classes)}
    new_label = next((value for value in values if value not in position), None)
    if new_label is not None:
        raise CounError(
            f"row {list(values).index(new_label)} has '{new_label}' in '{column}', which no "
            "training row has; expected every class in training"
        )
    return np.array([position[value] for value in values], np.int64)


def _ids(table: pa.Table, column: str | None) -> tuple[str, ...] | None:
    """The ids of the rows, or None where row numbers serve."""
    if column is None:
        return None
    kind = table[column].type
    tests = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)
    if pa.types.is_nested(kind) or any(test(kind) for test in tests):
        raise CounError(f"column '{column}' has type {kind}; expected ids, text or integers")
    values = texts(table[column])
    if None in values:
        raise CounError(f"row {values.index(None)} has no id: '{column}' is empty; fill it in")
    return checked_ids(values, len(values))
