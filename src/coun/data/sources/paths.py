"""`paths:PATH`: a CSV or parquet file with the paths of pictures and their labels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from coun.data.checks import checked_ids, delimiter, other_format
from coun.data.id_columns import IdColumns
from coun.data.items import IMAGES, LABELS
from coun.data.labels import coding, label_values
from coun.data.sources.held_out import HeldOut
from coun.data.sources.source import Source
from coun.data.sources.table import Part, Table
from coun.errors import CounError, first_line, unknown

PATHS = (*IMAGES, "path", "file", "filename", "file_name")
SPLITS = ("split", "part", "fold")


def read(
    path: Path,
    *,
    image_column: str | None = None,
    label_column: str | None = None,
    id_column: str | None = None,
    test_split: str | None = None,
    test_share: float | None = None,
    test_seed: int | None = None,
    test_ids: str | Path | Sequence[str] | None = None,
    follow_links: bool = False,
) -> Table:
    """Read a table with one row per picture: its path, relative to the table, and its label.

    Row numbers count in the order of the table, over both parts. The id of a row is its path
    as the table has it.

    Args:
        path: a .csv or .tsv file with a header, whose cells commas, semicolons, tabs or bars
            divide, or a .parquet file.
        image_column, label_column: the columns, where they have no usual name: path, file,
            filename, image, ...; and label, target, class, ...
        id_column: the column whose values are the ids of the rows.
        test_split: the value of a column called split, part or fold that marks the test part;
            test by default. Rows marked otherwise than train are then left out.
        test_share, test_seed, test_ids: the part to hold out, where no column says it.
        follow_links: accept paths that leave the folder of the table.

    Raises: CounError for a column that is missing or ambiguous, and for a path that leaves the
        folder of the table or names no file.
    """
    table = _columns(path)
    names = _chosen(path, table, "image", PATHS, image_column)
    values = label_values(_chosen(path, table, "label", LABELS, label_column), "listed")
    files = [_file(path, row, str(name), follow_links) for row, name in enumerate(names)]
    gone = [_gone(path, row, names[row]) for row, file in enumerate(files) if _is_gone(file)]
    if len(gone) == len(files):
        raise CounError(gone[0])
    if id_column is None:
        ids = checked_ids(names, len(names))
        _refuse_one_file_twice(path, names, files)
        id_column = next(column for column in table if table[column] is names)
    else:
        ids = checked_ids(_chosen(path, table, "id", (), id_column), len(names))
    id_columns = IdColumns(id_column, columns=frozenset(table))
    held_out = HeldOut(test_share, test_seed, test_ids)
    splits = next((table[name] for name in SPLITS if name in table), None)
    labels = coding(values, None)
    rows = Part(
        labels.numbers(values, "listed"),
        lambda chosen: ((files[row], files[row]) for row in chosen),
        np.arange(len(files)),
        ids,
        lambda chosen: ([files[row] for row in chosen], "one image per file"),
    ).take(np.flatnonzero([not _is_gone(file) for file in files]))
    notes: tuple[str, ...] = (labels.note,) if labels.note else ()
    if splits is None or held_out:
        if test_split is not None:
            raise CounError(f"{path} has no column {', '.join(SPLITS)} for --test-split to look in")
        result = held_out.split(rows, labels.classes, id_columns)
        return replace(result, notes=(*result.notes, *notes), problems=(*gone, *result.problems))
    marks = np.array([str(splits[row]).strip().lower() for row in rows.row_numbers])
    test_mark = (test_split or "test").lower()
    if "train" not in marks or test_mark not in marks:
        seen = ", ".join(sorted(set(marks.tolist()))[:8])
        raise CounError(
            f"{path} marks its rows {seen}; expected train and {test_mark} (--test-split)"
        )
    left_out = len(marks) - int(np.isin(marks, ["train", test_mark]).sum())
    if left_out:
        notes += (f"{left_out:,} rows that are marked neither train nor {test_mark} are left out",)
    train, test = (rows.take(np.flatnonzero(marks == mark)) for mark in ("train", test_mark))
    return Table(train, test, labels.classes, notes, problems=tuple(gone), id_columns=id_columns)


def _columns(path: Path) -> dict[str, list[str]]:
    """The columns of the table, as text."""
    import pyarrow as pa
    from pyarrow import csv
    from pyarrow import parquet as pq

    suffix = path.suffix.lower()
    if suffix not in (".csv", ".tsv", ".parquet"):
        raise CounError(f"{path} is not a .csv, .tsv or .parquet file; expected one with a header")
    if not path.is_file():
        raise CounError(f"{path} is not a file; expected a table of paths and labels")
    try:
        if suffix == ".parquet":
            table = pq.read_table(path)
            table.validate(full=True)  # texts that are not UTF-8 cannot be read later
        else:
            header = path.open(encoding="utf-8-sig").readline()
            parsing = csv.ParseOptions(delimiter=delimiter(header))
            names = next(iter(_split(header, parsing.delimiter)))
            texts = csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()))
            table = csv.read_csv(path, parse_options=parsing, convert_options=texts)
    except UnicodeDecodeError:
        advice = other_format(path) or "is not UTF-8 text; save it as CSV in UTF-8"
        raise CounError(f"{path} {advice}") from None
    except (pa.ArrowException, OSError, ValueError) as error:
        raise CounError(f"cannot read {path}: {first_line(error)}") from None
    if len(set(table.column_names)) < len(table.column_names):
        raise CounError(f"{path} has two columns of one name; expected different names")
    columns = {str(name): table.column(name).to_pylist() for name in table.column_names}
    if table.num_rows == 0:
        raise CounError(f"{path} has no rows; expected one per picture")
    return columns


def _split(header: str, delimiter: str) -> list[list[str]]:
    import csv

    return list(csv.reader([header], delimiter=delimiter)) or [[]]


def _chosen(
    path: Path, table: dict[str, list[str]], what: str, usual: Sequence[str], name: str | None
) -> list[str]:
    """The values of the column that holds *what*, none of them missing."""
    if name is not None and name not in table:
        raise CounError(f"{path}: {unknown(f'{what} column', name, table)}")
    hits = [column for column in usual if column in table] if name is None else [name]
    if len(hits) != 1:
        raise CounError(
            f"{path} has the columns {', '.join(table)}; {len(hits) or 'none'} of them may hold "
            f"the {what}; choose one with --{what}-column"
        )
    values = table[hits[0]]
    empty = next((row for row, value in enumerate(values) if value in (None, "")), None)
    if empty is not None:
        raise CounError(
            f"{path} row {empty} has no {what} in '{hits[0]}'; expected one in each row"
        )
    return values


def _file(table: Path, row: int, name: str, follow_links: bool) -> str:
    """The file that a row names, inside the folder of the table."""
    if "\0" in name:  # which no system takes
        raise CounError(f"{table} row {row}: {name!r} has a zero byte in it; expected a path")
    file = os.path.join(table.parent, name)
    root = os.path.realpath(table.parent)
    inside = os.path.commonpath([root, os.path.realpath(file)]) == root
    if not inside and not follow_links:
        raise CounError(
            f"{table} row {row}: '{name}' leaves the folder of the table; expected a path below it "
            "(or accept others with --follow-links)"
        )
    return file


def _is_gone(file: str) -> bool:
    """Whether a picture was deleted, or emptied, which some take for a deletion."""
    return not os.path.isfile(file) or os.path.getsize(file) == 0


def _gone(table: Path, row: int, name: str) -> str:
    """What is wrong with a row without a picture, unless that was deleted on purpose."""
    if os.path.isfile(os.path.join(table.parent, name)):
        return f"{table} row {row}: the file '{name}' is empty; expected an image"
    advice = "; write / in paths" if "\\" in name else ""
    return f"{table} row {row}: there is no file '{name}' beside the table{advice}"


def _refuse_one_file_twice(table: Path, names: Sequence[str], files: Sequence[str]) -> None:
    """Refuse two ids of one picture: whoever names one of them would leave the other retained."""
    first_row: dict[str, int] = {}
    for row, file in enumerate(files):
        first = first_row.setdefault(os.path.abspath(file), row)
        if first != row:
            raise CounError(
                f"{table}: '{names[first]}' in row {first} and '{names[row]}' in row {row} are one "
                "file; remove one of the rows"
            )


SOURCE = Source("paths", read, "a CSV or parquet file of paths of images, with labels")
