"""`hf:PATH_OR_NAME`: parquet as Hugging Face writes it, local or from the Hub."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from coun.data.checks import NAMEABLE, nameable
from coun.data.data_set import Data
from coun.data.id_columns import IdColumns
from coun.data.labels import label_values
from coun.data.sources.held_out import HeldOut
from coun.data.sources.source import Source
from coun.data.sources.table import Part, Table
from coun.data.tokens import TOKENS
from coun.errors import CounError, unknown

if TYPE_CHECKING:
    import pyarrow as pa

    from coun.data.tabular.columns import Features

TESTS = ("test", "validation", "valid", "val")  # the first that exists is the test part
HUB_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")


class Columns(Protocol):
    """One part of a data set, as `ParquetPart` and `HubPart` read it."""

    @property
    def notes(self) -> tuple[str, ...]: ...

    def features(self) -> Features: ...

    def column(self, name: str) -> pa.ChunkedArray: ...

    def chunks(self, name: str, rows: np.ndarray) -> Iterator[pa.ChunkedArray]: ...


def read(
    path: Path,
    *,
    image_column: str | None = None,
    label_column: str | None = None,
    id_column: str | None = None,
    test_share: float | None = None,
    test_seed: int | None = None,
    test_ids: str | Path | Sequence[str] | None = None,
    test_split: str | None = None,
    length: int | None = None,
    encoding: dict[str, Any] | None = None,
) -> Data | Table:
    """Read parquet with columns as Hugging Face names them.

    Files, or the folders they are in, are called train*.parquet and test*, validation*,
    valid* or val*.parquet. Shards are joined in name order, and that order numbers the rows
    of each part. Columns are found by the `huggingface` metadata or by their types: images
    are binary or a struct with `bytes`, labels are integers. A test part whose labels are all
    -1, which stands for unknown, gives way to the validation part. Rows with a column
    `input_ids` and without images are texts, as those of `tokens:`.

    Args:
        path: a folder of parquet files, a folder that `datasets` wrote with `save_to_disk`,
            one training file with its test file beside it, or the name of a data set of the
            Hub.
        image_column: the column of images, needed where there are several.
        label_column: the column of labels, needed where there are several, or where the only
            integers may as well be ids. A chosen column may hold text.
        id_column: the column whose values, text or integers, are the ids of the rows; they
            must be unique in each part. Row numbers are the ids by default.
        test_share, test_seed: share of the rows to hold out for testing and seed of the draw,
            where there is no test part.
        test_ids: ids of the rows to hold out instead, or a file that lists them.
        test_split: the name of the test part, where it is called otherwise or several might
            be it.
        length, encoding: of texts, as for `tokens:`.

    Raises: CounError for files, columns or labels that are missing, ambiguous or damaged.
    """
    from coun.data.tabular import columns  # importing pyarrow takes time
    from coun.data.tabular.id_columns import meant_by_ids
    from coun.data.tabular.naming import may_name_rows

    held_out = HeldOut(test_share, test_seed, test_ids)
    if held_out and test_split is not None:
        raise CounError("--test-split names a test part; leave the options that hold one out")
    train, test = _parts(path, hold_out=bool(held_out), test_split=test_split)
    features = train.features()
    texts = image_column is None and columns.holds_texts(features)
    image = TOKENS if texts else columns.image_column(features, image_column)
    if length is not None and not texts:
        raise CounError("--length applies to texts, and these rows are images")
    label = columns.label_column(features, label_column)
    if id_column is not None and id_column not in features:
        raise unknown("id column", id_column, features)
    values = _labels("train", train, label)
    if label_column is None:
        columns.check_guess(label, features[label], values)
    candidates = columns.id_candidates(features, (image, label))
    candidates = [] if id_column is not None else candidates
    named = list(filter(may_name_rows, candidates))
    possible = meant_by_ids({name: train.column(name) for name in candidates})
    id_columns = IdColumns(id_column, possible, frozenset(features))
    others = columns.other_labels(features, label) if label_column is None else []
    notes = train.notes + _advice(_distinct(train, named), label, others)
    classes, distinct = columns.class_names(features[label]), None
    if classes is None:
        distinct = np.unique(values)
        classes, values = tuple(map(str, distinct)), np.searchsorted(distinct, values)
    rows = _part("train", train, image, values, id_column)
    if test is None:
        table = held_out.split(rows, classes, id_columns)
        table = replace(table, notes=table.notes + notes)
        return _as_texts(table, train, train, length, encoding) if texts else table
    if test_split is None and _are_unknown(test, label):
        test = _parts(path, hold_out=False, test_split="val")[1]
        notes += ("the labels of the test part are all -1, so validation is the test part",)
        assert test is not None
    test_values = _labels_of_test(test, label, classes, distinct)
    test_rows = _part("test", test, image, test_values, id_column)
    table = Table(rows, test_rows, classes, notes, id_columns=id_columns)
    return _as_texts(table, train, test, length, encoding) if texts else table


def _advice(id_columns: Sequence[str], label: str, others: Sequence[str]) -> tuple[str, ...]:
    """Say which options choose other columns: one of *id_columns* for ids, of *others* for labels.

    Args: label: the column of labels that was found.
    """
    of_ids = tuple(
        f"row numbers serve as ids; column '{name}' has another value in each row, and "
        f"--id-column {shlex.quote(name)} makes these the ids"
        for name in id_columns
    )
    if not others:
        return of_ids
    return *of_ids, f"labels are in '{label}'; --label-column chooses {' or '.join(others)} instead"


def _labels_of_test(
    test: Columns, label: str, classes: tuple[str, ...], distinct: np.ndarray | None
) -> np.ndarray:
    """The labels of the test part, numbered like those of training.

    Args: distinct: the values of labels in training, sorted; None where the file names the classes.

    Raises: CounError where the test part has other classes.
    """
    from coun.data.tabular import columns

    values = _labels("test", test, label)
    if distinct is not None:
        return _as_training(label, values, distinct)
    if columns.class_names(test.features().get(label, {})) not in (None, classes):
        raise CounError(f"column '{label}' names other classes in the test part than in training")
    return values


def _as_texts(
    table: Table, train: Columns, test: Columns, length: int | None, encoding: dict[str, Any] | None
) -> Data:
    """The rows of *table* with the token ids that *train* and *test* hold at their numbers."""
    import pyarrow as pa

    from coun.data.tabular import token_lists

    train_lists, test_lists = (
        pa.table(
            {name: source.column(name) for name in token_lists.columns(source.features())}
        ).take(pa.array(part.row_numbers))
        for part, source in ((table.train, train), (table.test, test))
    )
    return token_lists.as_data(table, train_lists, test_lists, length, encoding)


def _parts(path: Path, *, hold_out: bool, test_split: str | None) -> tuple[Columns, Columns | None]:
    """The training and the test part; the latter is None where a part is to be held out."""
    from coun.data.tabular import arrow, hub, parquet, shards

    tests = TESTS if test_split is None else (test_split,)
    if path.exists():
        parts: tuple[Columns, Columns | None]
        if arrow.is_saved(path):
            parts = arrow.parts(path, tests, chosen=test_split)
        else:
            files, test_files = shards.find_files(path, test_split)
            test = parquet.ParquetPart(test_files) if test_files else None
            parts = parquet.ParquetPart(files), test
        if parts[1] is not None and hold_out:
            raise CounError(
                f"hf: {path} has a test part; --test-share, --test-seed and --test-ids apply "
                "where there is none"
            )
        if parts[1] is None and not hold_out:
            raise CounError(
                f"hf: {path} has no test or validation part beside the training part; add one, "
                "or hold a part out with --test-share"
            )
        return parts
    if HUB_NAME.fullmatch(str(path)) and path.suffix != ".parquet":
        return hub.parts(str(path), tests)
    raise CounError(f"hf: there is no file or folder {path}")


def _are_unknown(part: Columns, label: str) -> bool:
    """Whether all labels are -1."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if label not in part.features():
        return False
    column = part.column(label)
    number = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    return bool(number and len(column) and pc.all(pc.equal(column, -1)).as_py())


def _distinct(train: Columns, names: list[str]) -> tuple[str, ...]:
    """Those of the columns that have another value in each row, and so may name the rows."""
    values = ((name, train.column(name)) for name in names)
    return tuple(
        name
        for name, column in values
        if len(column) == len(column.unique()) and not column.null_count
    )


def _labels(part_name: str, part: Columns, label: str) -> np.ndarray:
    """Values of the label column, (N,): int64 or text."""
    values = _values(part_name, part, label, "label")
    if values.dtype == np.int64 and values.min(initial=0) < 0:
        row = int(values.argmin())
        raise CounError(f"{part_name} row {row} has label {values[row]}; expected 0 or more")
    return values


def _values(part_name: str, part: Columns, name: str, purpose: str) -> np.ndarray:
    """Values of a column of text or integers, (N,), without a missing one."""
    import pyarrow as pa

    column = part.column(name)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    floating = pa.types.is_floating(column.type) and purpose == "label"
    if not text and not floating and not pa.types.is_integer(column.type):
        raise CounError(
            f"{part_name} column '{name}' has type {column.type}; expected integers or text"
        )
    if column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy())[0])
        raise CounError(f"{part_name} row {row} has no {purpose}: '{name}' is null")
    values = np.array(column.to_numpy())  # a copy, because Arrow's memory is read-only
    if floating:
        return label_values(values, part_name)
    return values.astype(str) if text else values.astype(np.int64)


def _as_training(label: str, values: np.ndarray, distinct: np.ndarray) -> np.ndarray:
    """Labels of the test part from its *values*, given the sorted values of the training part."""
    new = np.flatnonzero(~np.isin(values, distinct))
    if len(new):
        raise CounError(
            f"test row {new[0]} has '{values[new[0]]}' in '{label}', which no training row has; "
            "expected every test class in training"
        )
    return np.searchsorted(distinct, values)


def _ids(part_name: str, part: Columns, name: str) -> list[str]:
    """Values of the id column, which must be unique."""
    ids = [str(value) for value in _values(part_name, part, name, "id")]
    first: dict[str, int] = {}
    for row, value in enumerate(ids):
        if not nameable(value):
            raise CounError(f"id {value!r} of {part_name} row {row} {NAMEABLE}; choose other ids")
        if first.setdefault(value, row) != row:
            raise CounError(
                f"{part_name} rows {first[value]} and {row} have the same id '{value}' in "
                f"'{name}'; ids must be unique"
            )
    return ids


def _part(
    part_name: str, part: Columns, image: str, labels: np.ndarray, id_column: str | None
) -> Part:
    def encoded(rows: np.ndarray) -> Iterator[tuple[str, bytes]]:
        numbers = iter(rows.tolist())
        for chunk in part.chunks(image, rows):
            for content in _contents(chunk):
                row = f"{part_name} row {next(numbers)}"
                if not isinstance(content, bytes):
                    raise CounError(
                        f"{row} has no image bytes in '{image}' ({chunk.type}); expected the "
                        "encoded image itself, not a null or a path"
                    )
                yield row, content

    names = None if id_column is None else _ids(part_name, part, id_column)
    files = getattr(part, "files", None)
    return Part(
        labels,
        encoded,
        names=names,
        files=None if files is None else lambda rows: ([*map(str, files)], f"column {image}"),
    )


def _contents(chunk: pa.ChunkedArray) -> list[Any]:
    """Encoded images of a binary column, or of a struct's field `bytes`."""
    import pyarrow as pa
    import pyarrow.compute as pc

    values: list[Any] = (
        pc.struct_field(chunk, "bytes") if pa.types.is_struct(chunk.type) else chunk
    ).to_pylist()
    return values


SOURCE = Source(
    "hf", read, "parquet with Hugging Face columns, or a data set of the Hub", "PATH_OR_NAME"
)
