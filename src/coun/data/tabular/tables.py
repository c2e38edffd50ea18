"""Tables in files of CSV or parquet, and the values of their columns."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from coun.data.checks import delimiter, other_format
from coun.data.tabular.arrow import is_saved
from coun.data.tabular.naming import names_rows
from coun.errors import CounError, first_line, unknown

SUFFIXES = (".csv", ".tsv", ".txt", ".parquet")
MOST_CLASSES = 1000


def read_parts(
    path: Path, id_column: str | None, *, hold_out: bool
) -> tuple[pa.Table, pa.Table | None]:
    """Read the training part and, where *path* is a folder with one, the test part.

    Args: hold_out: whether the user wants to choose a test part, which a folder has already.

    Raises: CounError for a missing or damaged file, and for parts with other columns.
    """
    if not path.exists():
        raise CounError(f"there is no file or folder {path}")
    if not path.is_dir():
        return _read(path, id_column), None
    if is_saved(path):
        raise CounError(
            f"{path} is a folder that datasets wrote with save_to_disk; write hf:{path}"
        )
    parts = []
    for part in ("train", "test"):
        files = [path / f"{part}{suffix}" for suffix in SUFFIXES]
        present = [file for file in files if file.is_file()]
        if len(present) != 1:
            raise CounError(
                f"{path} holds {len(present) or 'no'} files called {part}.csv, .tsv, .txt "
                "or .parquet; expected one, or give a single file and hold a part of it out"
            )
        parts.append(_read(present[0], id_column))
    if hold_out:
        raise CounError(
            f"{path} has a test part already; --test-share, --test-seed and --test-ids "
            "apply to a single file"
        )
    for name in parts[0].column_names:
        if name not in parts[1].column_names:
            raise CounError(f"the test part has no column '{name}', which training has")
    return parts[0], parts[1]


def _read(path: Path, id_column: str | None) -> pa.Table:
    try:
        if path.suffix == ".parquet":
            import pyarrow.parquet as pq

            table = _without_views(pq.read_table(path))
            table.validate(full=True)  # texts that are not UTF-8 cannot be read later
        else:
            table = _read_csv(path, id_column)
    except (pa.ArrowException, OSError) as error:
        advice = "; save it as CSV in UTF-8" if "invalid UTF8" in str(error) else ""
        raise CounError(f"cannot read the table {path}: {first_line(error)}{advice}") from None
    names = table.column_names
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise CounError(f"{path} has two columns '{twice}'; rename one")
    if table.num_rows == 0:
        raise CounError(f"{path} has no rows; expected at least one")
    if id_column is not None and id_column not in names:
        raise unknown("id column", id_column, names)
    return table


def _read_csv(path: Path, id_column: str | None) -> pa.Table:
    from pyarrow import csv

    with open(path, "rb") as file:
        start = file.read(1 << 16)
    if b"\0" in start:  # as in UTF-16, workbooks and archives
        advice = other_format(path) or "is not UTF-8 text; save it as CSV in UTF-8"
        raise CounError(f"{path} {advice}")
    header = next(filter(None, start.decode("utf-8", "replace").splitlines()), "")
    if re.match(r'[\ufeff\s]*[{\[]\s*["{\[]', header):
        raise CounError(f"{path} holds JSON; expected a table, save it as CSV or parquet")
    parsing = csv.ParseOptions(delimiter=delimiter(header))
    table = csv.read_csv(
        path,
        parse_options=parsing,
        convert_options=csv.ConvertOptions(
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            # Otherwise ids such as 007 would become numbers.
            column_types={} if id_column is None else {id_column: pa.string()},
        ),
    )
    for place, name in enumerate(table.column_names):  # an id may be NA, as in a list of countries
        column = table.column(place)
        named = name == id_column or names_rows(name)
        if named and column.null_count and is_text(column.type):
            as_written = csv.ConvertOptions(
                include_columns=[name], column_types={name: pa.string()}
            )
            column = csv.read_csv(path, parse_options=parsing, convert_options=as_written)[name]
            empty = pc.equal(column, "")
            table = table.set_column(place, name, pc.if_else(empty, None, column))
    wrong = next((field.name for field in table.schema if pa.types.is_binary(field.type)), None)
    if wrong is not None:
        raise CounError(f"column '{wrong}' of {path} is not UTF-8 text; save it as CSV in UTF-8")
    return table


def _without_views(table: pa.Table) -> pa.Table:
    """The same table with texts in the layout that every function of pyarrow reads."""
    kinds = [pa.large_string() if pa.types.is_string_view(k) else k for k in table.schema.types]
    return table.cast(pa.schema(list(zip(table.column_names, kinds, strict=True))))


def is_text(kind: pa.DataType) -> bool:
    """Whether values of an Arrow type are text, perhaps stored as a dictionary."""
    if pa.types.is_dictionary(kind):
        return is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def is_number(kind: pa.DataType) -> bool:
    """Whether values of an Arrow type are numbers or truth values."""
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean)
    return any(test(kind) for test in tests)


def texts(column: pa.ChunkedArray) -> list[str | None]:
    """The values of a column as text; None where missing.

    Integral numbers have no point. Times that are all at midnight are days, as pandas writes them
    to CSV, so that a row has the same id in each format.
    """
    if is_text(column.type):
        return list(column.cast(pa.string()).to_pylist())
    if pa.types.is_timestamp(column.type) and column.type.tz is None:
        days = column.cast(pa.date32(), safe=False)
        if days.cast(column.type) == column:
            column = days
    values = column.to_pylist()
    return [  # NaN is not equal to itself
        None if value is None or value != value else str(int(value) if _integral(value) else value)
        for value in values
    ]


def numbers(column: pa.ChunkedArray) -> np.ndarray:
    """The values of a column of numbers, (N,) float64, the nearest ones; NaN where missing."""
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    return np.array(pc.fill_null(column.cast(pa.float64(), safe=False), float("nan")).to_numpy())


def labels_of(table: pa.Table, name: str) -> list[str]:
    """The labels of all rows as text.

    Raises: CounError for a missing label, or a column that holds neither integers nor text.
    """
    column = table[name]
    if not is_text(column.type) and not is_number(column.type):
        raise CounError(
            f"column '{name}' has type {column.type}; expected labels, integers or text"
        )
    values = texts(column)
    if None in values:
        raise CounError(
            f"row {values.index(None)} has no label: '{name}' is empty, or a word for that such as "
            "NA; remove the row, or give the class another name"
        )
    if not is_text(column.type) and not all(_integral(v) for v in column.to_pylist()):
        raise CounError(
            f"column '{name}' holds fractions; expected classes, integers or text (choose the "
            "label with --label-column)"
        )
    return [str(value) for value in values]


def class_names(name: str, labels: list[str]) -> tuple[str, ...]:
    """The sorted different labels: numbers by value, text by letters.

    Raises: CounError for a single class, and for so many that the column is hardly a label.
    """
    distinct = set(labels)
    if len(distinct) < 2:
        raise CounError(f"column '{name}' has one value only; expected two classes or more")
    if len(distinct) > min(MOST_CLASSES, max(2, len(labels) // 2)):
        raise CounError(
            f"column '{name}' has {len(distinct):,} different values in {len(labels):,} rows; "
            "expected classes (choose the label with --label-column)"
        )
    try:
        return tuple(sorted(distinct, key=int))
    except ValueError:
        return tuple(sorted(distinct))


def _integral(value: object) -> bool:
    return isinstance(value, bool | int) or (isinstance(value, float) and value.is_integer())
