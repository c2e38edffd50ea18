"""`hf:PATH_OR_NAME`: parquet as Hugging Face writes it, local or from the Hub."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from coun.data.sources.source import Source
from coun.data.sources.table import Part, Table
from coun.errors import CounError

if TYPE_CHECKING:
    import pyarrow as pa

    from coun.data.tabular.columns import Features

TESTS = ("test", "validation", "valid", "val")  # the first that exists is the test part
HUB_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")


class Columns(Protocol):
    """One part of a data set, as `ParquetPart` and `HubPart` read it."""

    def features(self) -> Features: ...

    def column(self, name: str) -> pa.ChunkedArray: ...

    def chunks(self, name: str, rows: np.ndarray) -> Iterator[pa.ChunkedArray]: ...


def read(path: Path, *, image_column: str | None = None, label_column: str | None = None) -> Table:
    """Read parquet with columns as Hugging Face names them.

    Files, or the folders they are in, are called train*.parquet and test*, validation*,
    valid* or val*.parquet. Shards are joined in name order, and that order numbers the rows
    of each part. Columns are found by the `huggingface` metadata or by their types: images
    are binary or a struct with `bytes`, labels are integers.

    Args:
        path: a folder of parquet files, one training file with its test file beside it, or
            the name of a data set of the Hub.
        image_column: the column of images, needed where there are several.
        label_column: the column of labels, needed where there are several, or where the only
            integers may as well be ids. A chosen column may hold text.

    Raises: CounError for files, columns or labels that are missing, ambiguous or damaged.
    """
    from coun.data.tabular import columns  # importing pyarrow takes time

    train, test = _parts(path)
    features = train.features()
    image = columns.image_column(features, image_column)
    label = columns.label_column(features, label_column)
    values, test_values = _labels("train", train, label), _labels("test", test, label)
    if label_column is None:
        columns.check_guess(label, features[label], values)
    classes = columns.class_names(features[label])
    test_classes = columns.class_names(test.features().get(label, {}))
    if test_classes is not None and test_classes != classes:
        raise CounError(f"column '{label}' names other classes in the test part than in training")
    if classes is None:
        classes, values, test_values = _numbered(label, values, test_values)
    return Table(
        _part("train", train, image, values), _part("test", test, image, test_values), classes
    )


def _parts(path: Path) -> tuple[Columns, Columns]:
    from coun.data.tabular import hub, parquet, shards

    if path.exists():
        files, test_files = shards.find_files(path)
        if not test_files:
            raise CounError(
                f"hf: {path} has no test*.parquet or validation*.parquet beside "
                f"{files[0].name}; expected a folder that holds both parts"
            )
        return parquet.ParquetPart(files), parquet.ParquetPart(test_files)
    if HUB_NAME.fullmatch(str(path)) and path.suffix != ".parquet":
        return hub.parts(str(path), TESTS)
    raise CounError(f"hf: there is no file or folder {path}")


def _labels(part_name: str, part: Columns, label: str) -> np.ndarray:
    """Values of the label column, (N,): int64 or text."""
    import pyarrow as pa

    column = part.column(label)
    text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    if not text and not pa.types.is_integer(column.type):
        raise CounError(f"{part_name} column '{label}' has type {column.type}; expected integers")
    if column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy())[0])
        raise CounError(f"{part_name} row {row} has no label: '{label}' is null")
    values = np.array(column.to_numpy())  # a copy, because Arrow's memory is read-only
    return values.astype(str) if text else values.astype(np.int64)


def _numbered(
    label: str, values: np.ndarray, test_values: np.ndarray
) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Class names from the values of the training part, and both parts as class numbers."""
    for part_name, part in (("train", values), ("test", test_values)):
        if part.dtype == np.int64 and part.min(initial=0) < 0:
            row = int(part.argmin())
            raise CounError(f"{part_name} row {row} has label {part[row]}; expected 0 or more")
    classes, labels = np.unique(values, return_inverse=True)
    new = np.flatnonzero(~np.isin(test_values, classes))
    if len(new):
        raise CounError(
            f"test row {new[0]} has '{test_values[new[0]]}' in '{label}', which no training row "
            "has; expected every test class in training"
        )
    return tuple(map(str, classes)), labels, np.searchsorted(classes, test_values)


def _part(part_name: str, part: Columns, image: str, labels: np.ndarray) -> Part:
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

    return Part(labels, encoded)


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
