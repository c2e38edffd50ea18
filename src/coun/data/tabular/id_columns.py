"""Which columns a list of ids may mean where row numbers serve as ids.

Such a list must not be taken for row numbers: 17 would forget the rows of somebody else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coun.data.checks import whole_number
from coun.data.tabular.naming import COUNTS_ROWS, may_name_rows
from coun.data.tabular.tables import is_number, is_text, numbers, texts

FLAGS = frozenset({"0", "1", None})  # such as of customers who are members


def names_most_rows(column: pa.ChunkedArray) -> bool:
    """Whether most values are those of one row only, so that a list may name rows by them.

    An id that is missing, or names two rows, does not make the other ids into row numbers.

    >>> names_most_rows(pa.chunked_array([[4, 5, 6, 7, 7]]))
    True
    >>> names_most_rows(pa.chunked_array([[4, 5, 7, 7, None]]))
    False
    """
    counts = pc.value_counts(column.drop_null()).field("counts")
    return bool(2 * pc.sum(pc.equal(counts, 1), min_count=0).as_py() > len(column))


def meant_by_ids(*parts: Mapping[str, pa.ChunkedArray]) -> dict[str, frozenset[str]]:
    """Find the columns that ids may mean, with the values; see `IdColumns.possible`.

    A column is found by its name or, if it has another whole number in most rows, by its values:
    if half of them or more are the numbers of other rows, it counts the rows in another way.

    Args: parts: the columns of each part of the data, by name.

    >>> table = pa.table({"customer": ["Ann", "Ann", "Ben", "07"], "id": [8, 9, 10, None],
    ...                   "age": [40, 41, 40, 3], "counter": [1, 2, 3, 4]})
    >>> meant = meant_by_ids(dict(zip(table.column_names, table.columns)))
    >>> {name: sorted(values) for name, values in meant.items()}
    {'customer': ['07', '7', 'Ann', 'Ben'], 'id': [], 'counter': ['1', '2', '3']}
    """
    found: dict[str, frozenset[str]] = {}
    for name, column in ((name, part[name]) for part in parts for name in part):
        values = _meant(name, column)
        if values is not None:
            known = found.get(name, values)
            found[name] = known | values if known and values else frozenset()
    return found


def _meant(name: str, column: pa.ChunkedArray) -> frozenset[str] | None:
    """The values of one column that ids may mean, none for all; None if ids cannot mean it."""
    plain = _plain(column)
    if plain is None:
        return None
    distinct, by_pandas = names_most_rows(plain), COUNTS_ROWS.fullmatch(name.strip())
    if may_name_rows(name) and not (by_pandas and distinct):
        if distinct:
            return frozenset()
        values = texts(pa.chunked_array([plain.unique()]))
        if FLAGS.issuperset(values):
            return None
        return frozenset(form for value in values if value for form in _forms(value)) or None
    return frozenset(map(str, _other_rows(plain) if distinct else ())) or None


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """A column of texts or whole numbers, not in a dictionary; None for others."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if any(test(column.type) for test in (pa.types.is_binary, pa.types.is_large_binary)):
        try:  # texts as Spark may write them
            column = column.cast(pa.string())
        except pa.ArrowInvalid:
            return None
    if pa.types.is_boolean(column.type) or not (is_text(column.type) or is_number(column.type)):
        return None
    if pa.types.is_floating(column.type):  # whole numbers of which one is missing, or amounts
        values = numbers(column)
        values[~np.isfinite(values)] = np.nan
        if not (np.isnan(values) | (values == np.floor(values))).all():
            return None
        column = pa.chunked_array([pa.array(values, from_pandas=True)])
    return column


def _forms(value: str) -> Iterator[str]:
    """*value* as it is written, and as a list may write the number, as 7 in place of 007."""
    yield value
    if whole := whole_number(value):
        yield whole


def _other_rows(column: pa.ChunkedArray) -> list[int]:
    """The values that are numbers of rows and stand in other rows; none if these are few."""
    values = np.full(len(column), -1)
    if is_text(column.type):
        for row, value in enumerate(texts(column)):
            whole = whole_number(value or "")
            values[row] = int(whole) if whole and len(whole) < 16 else -1
    else:
        floats = numbers(column)
        inside = (floats >= 0) & (floats < len(floats)) & (floats == np.floor(floats))
        values[inside] = floats[inside].astype(np.int64)
    of_rows = (values >= 0) & (values < len(values))
    others = values[of_rows & (values != np.arange(len(values)))]
    return others.tolist() if 2 * of_rows.sum() >= len(values) else []
