"""The columns of a table as inputs of a network: standardised numbers and categories."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Collection
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from coun.data.tabular.naming import COUNTS_ROWS, names_rows
from coun.data.tabular.tables import is_number, is_text, numbers, texts
from coun.errors import CounError, unknown

MOST_CATEGORIES = 100
MANY_ROWS = 20  # from here on, texts that are another one in each row are no categories
# Also 0,5 and 1,234 and 1'234.5 and 5%, but neither dates nor versions such as 1.2.3.
NUMBER = re.compile(r"[+-]?(?=[.,]?\d)(\d{1,3}([,.' ]\d{3})+|\d*)([.,]\d*)?([eE][+-]?\d+)?\s*%?")
PLAIN_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
FEW_NUMBERS = 4  # different ones, which may be grades or sizes
Column = dict[str, Any]  # {"name", "mean", "std"} or {"name", "categories"}


def describe(
    table: pa.Table,
    others: Collection[str | None],
    *,
    drop: str | None,
    categorical: str | None,
) -> tuple[list[Column], tuple[str, ...]]:
    """Decide how each column becomes inputs, from the training rows.

    Args:
        table: the training rows.
        others: columns that are not features: the label and the ids.
        drop, categorical: names that the user listed, separated by commas.

    Returns: a description of each column, and notes for the user.

    Raises: CounError for a column that cannot be a feature.

    >>> people = pa.table({"age": [30, 40], "job": ["nurse", "pilot"], "income": ["low", "high"]})
    >>> columns, notes = describe(people, ["income"], drop=None, categorical=None)
    >>> columns[0]
    {'name': 'age', 'mean': 35.0, 'std': 5.0}
    >>> columns[1]
    {'name': 'job', 'categories': ['nurse', 'pilot']}
    """
    left_out = _listed("--drop", drop, table)
    as_categories = _listed("--categorical", categorical, table)
    columns, notes, problems = list[Column](), list[str](), dict[str, CounError]()
    for name in table.column_names:
        if name in others or name in left_out:
            continue
        try:
            described, note = _described(name, table[name], name in as_categories)
        except CounError as error:
            problems[name] = error
            continue
        columns += [described] if described else []
        notes += [note] if note else []
    if problems:
        first, *more = problems
        others_too = f"; the same goes for {', '.join(map(repr, more))}" if more else ""
        raise CounError(f"{problems[first]}{others_too}")
    if not columns:
        raise CounError("the table has no column of features; expected one beside the label")
    return columns, tuple(notes)


def _described(name: str, column: pa.ChunkedArray, chosen: bool) -> tuple[Column | None, str]:
    """How a column becomes inputs, None if it is not a feature; and a note for the user, or "".

    Args: chosen: whether the user says that its values are categories.
    """
    if not is_text(column.type) and not is_number(column.type):
        raise CounError(
            f"column '{name}' has type {column.type}; expected numbers or text (leave it out with "
            f"{_drop(name)})"
        )
    if column.null_count == len(column):
        raise CounError(f"column '{name}' is empty; leave it out with {_drop(name)}")
    unique, note = len(column.unique()) == len(column), ""
    if COUNTS_ROWS.fullmatch(name.strip()) and (unique or name.startswith("__")):
        return None, f"column '{name}' counts the rows and is not a feature"
    if names_rows(name) and not chosen:
        if unique:
            return None, (
                f"column '{name}' has another value in each row and is not a feature; --id-column "
                f"{shlex.quote(name)} makes its values the ids of the rows"
            )
        note = (
            f"column '{name}' has the same value in several rows and is taken as a feature; "
            f"{_drop(name)} leaves it out"
        )
    if is_text(column.type) or chosen:
        return _categories(name, texts(column), chosen), note
    return _scale(name, numbers(column)), note


def _drop(name: str) -> str:
    """The option that leaves a column out, as it is typed in a shell."""
    return f"--drop {shlex.quote(name)}"


def encode(table: pa.Table, columns: list[Column], *, fill: bool) -> Tensor:
    """Compute the inputs (N, D) float32 of all rows of *table*.

    Raises: CounError for missing values unless they are filled, for infinite ones, and for a
        column of another type than described.
    """
    blocks = []
    for described in columns:
        name = described["name"]
        if name not in table.column_names:
            raise CounError(f"the table has no column '{name}', which the model was trained with")
        column = table[name]
        if not fill:
            _refuse_missing(column, name)
        if "categories" in described:
            position = {value: k for k, value in enumerate(described["categories"])}
            block = np.zeros((len(column), len(position)))
            for row, value in enumerate(texts(column)):
                if value in position:
                    block[row, position[value]] = 1.0
        else:
            if not is_number(column.type):
                raise CounError(
                    f"column '{name}' has type {column.type}, but numbers in training; expected one"
                )
            values = numbers(column)
            if np.isinf(values).any():
                row = int(np.flatnonzero(np.isinf(values))[0])
                raise CounError(f"row {row} has an infinite value in '{name}'; expected a number")
            scaled = (values - described["mean"]) / described["std"]
            block = np.nan_to_num(scaled, nan=0.0)[:, None]
        blocks.append(block)
    return torch.from_numpy(np.concatenate(blocks, axis=1).astype(np.float32))


def unseen(table: pa.Table, columns: list[Column]) -> tuple[str, ...]:
    """Say which categories of *table* no training row has."""
    notes = []
    for described in columns:
        if "categories" not in described:
            continue
        values = texts(table[described["name"]])
        new_values = [v for v in values if v is not None and v not in described["categories"]]
        if new_values:
            notes.append(
                f"{len(new_values):,} test rows have a value in '{described['name']}' that no "
                f"training row has, such as '{new_values[0]}'; it counts as none of the categories"
            )
    return tuple(notes)


def widths(columns: list[Column]) -> tuple[int, ...]:
    """The number of inputs of each column."""
    return tuple(len(column.get("categories", (0,))) for column in columns)


def _listed(option: str, names: str | None, table: pa.Table) -> list[str]:
    listed = [name.strip() for name in (names or "").split(",") if name.strip()]
    for name in listed:
        if name not in table.column_names:
            raise unknown(f"column of {option}", name, table.column_names)
    return listed


def _categories(name: str, values: list[str | None], chosen: bool) -> Column:
    distinct = sorted({value for value in values if value is not None})
    if not chosen:
        advice = f"leave it out with {_drop(name)}, or give --categorical {shlex.quote(name)}"
        if spelled := _spelled_otherwise(distinct):
            raise CounError(
                f"column '{name}' holds numbers, but '{spelled}' is not written as one; expected "
                f"plain numbers such as 1234.5, and nothing where one is missing ({advice})"
            )
        one_each = len(distinct) == len(values)
        if len(distinct) > MOST_CATEGORIES or (one_each and len(values) >= MANY_ROWS):
            if one_each:
                advice = f"name it with --id-column {shlex.quote(name)} if they are ids, {advice}"
            raise CounError(
                f"column '{name}' has {len(distinct):,} different texts in {len(values):,} rows; "
                f"{advice} if they are categories"
            )
    return {"name": name, "categories": distinct}


def _spelled_otherwise(distinct: list[str]) -> str:
    """A text that is not a plain number where most of *distinct* are numbers; empty if none is."""
    numeric = sum(NUMBER.fullmatch(value.strip()) is not None for value in distinct)
    if numeric <= FEW_NUMBERS or 2 * numeric <= len(distinct):
        return ""
    return next((v for v in distinct if not PLAIN_NUMBER.fullmatch(v.strip())), "")


def _scale(name: str, values: np.ndarray) -> Column:
    finite = values[np.isfinite(values)]
    if not len(finite):
        raise CounError(f"column '{name}' has no finite number; leave it out with {_drop(name)}")
    with np.errstate(over="ignore", invalid="ignore"):
        deviation = float(finite.std())
    if not math.isfinite(deviation):
        raise CounError(
            f"column '{name}' has values up to {abs(finite).max():.0e}, too large to be scaled; "
            f"divide them, or leave it out with {_drop(name)}"
        )
    return {"name": name, "mean": float(finite.mean()), "std": deviation or 1.0}


def _refuse_missing(column: pa.ChunkedArray, name: str) -> None:
    missing = np.flatnonzero(column.is_null(nan_is_null=True).to_numpy())
    if len(missing):
        raise CounError(
            f"column '{name}' has {len(missing):,} missing value{'s' * (len(missing) > 1)}, in "
            f"row {missing[0]} first; fill them in, leave the column out with {_drop(name)}, or "
            "give --missing fill"
        )
