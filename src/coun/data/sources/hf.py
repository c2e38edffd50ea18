"""`hf:PATH_OR_NAME`: parquet as Hugging Face writes it, local or from the Hub."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from coun.data.checks import first_line, numbered
from coun.data.sources import columns, hub
from coun.data.sources.table import Part, Table
from coun.errors import CounError

TESTS = ("test", "validation", "valid", "val")  # the first that is there counts
HUB_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")


class Source(Protocol):
    """One part: columns by name, and images of chosen rows a chunk at a time."""

    def features(self) -> columns.Features: ...

    def column(self, name: str) -> pa.ChunkedArray: ...

    def chunks(self, name: str, rows: np.ndarray) -> Iterator[pa.ChunkedArray]: ...


def read(path: Path, *, image_column: str | None = None, label_column: str | None = None) -> Table:
    """A folder of parquet files, one parquet file beside its test file, or a name on the Hub.

    Files (or the folders they lie in) are train*.parquet and test*, validation*, valid* or
    val*.parquet; shards are joined in name order, and that order numbers the rows. Columns
    are found by the `huggingface` metadata or by type: images are binary or a struct with
    `bytes`, labels are integers; several of a kind need *image_column*, *label_column*.
    """
    if path.exists():
        files, held_files = _files(path)
        pair: tuple[Source, Source] = Parquet(files), Parquet(held_files)
    elif HUB_NAME.fullmatch(str(path)) and path.suffix != ".parquet":
        pair = hub.parts(str(path), TESTS)
    else:
        raise CounError(f"hf: there is no file or folder {path}")
    train, test = pair
    features = train.features()
    image = columns.image_column(features, image_column)
    label = columns.label_column(features, label_column)
    labels, held_labels = _labels("train", train, label), _labels("test", test, label)
    names = columns.class_names(features[label]) or numbered(labels)
    held = columns.class_names(test.features().get(label, {}))
    if held is not None and held != names:
        raise CounError(f"column '{label}' names other classes in the test part than in training")
    return Table(
        _part("train", train, image, labels), _part("test", test, image, held_labels), names
    )


def _labels(name: str, part: Source, label: str) -> np.ndarray:
    column = part.column(label)
    if not pa.types.is_integer(column.type):
        raise CounError(f"{name} column '{label}' has type {column.type}; expected integers")
    if column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy())[0])
        raise CounError(f"{name} row {row} has no label (null in '{label}'); expected an integer")
    return np.array(column.to_numpy(), np.int64)  # a copy: Arrow's memory is read-only


def _part(name: str, part: Source, image: str, labels: np.ndarray) -> Part:
    def encoded(rows: np.ndarray) -> Iterator[tuple[str, bytes]]:
        numbers = iter(rows.tolist())
        for chunk in part.chunks(image, rows):
            kind = chunk.type
            if pa.types.is_struct(kind):
                chunk = pc.struct_field(chunk, "bytes")
            for content in chunk.to_pylist():
                row = f"{name} row {next(numbers)}"
                if not isinstance(content, bytes):
                    raise CounError(
                        f"{row} has no image bytes in '{image}' ({kind}); expected the encoded "
                        "image itself, not a null or a path"
                    )
                yield row, content

    return Part(labels, encoded)


@dataclass(frozen=True)
class Parquet:
    """One part: parquet files joined in order."""

    files: list[Path]

    def features(self) -> columns.Features:
        return columns.features_of(_open(self.files[0]).schema_arrow)

    def column(self, name: str) -> pa.ChunkedArray:
        tables = []
        for file in self.files:
            opened = _open(file, name)
            with _reading(file):
                tables.append(opened.read(columns=[name]))
        types = {table.schema.field(name).type for table in tables}
        if len(types) > 1:
            kinds = ", ".join(sorted(map(str, types)))
            raise CounError(f"column '{name}' has types {kinds} in different files; expected one")
        return pa.concat_tables(t.replace_schema_metadata() for t in tables).column(name)

    def chunks(self, name: str, rows: np.ndarray) -> Iterator[pa.ChunkedArray]:
        """A chunk per row group; groups without a wanted row are not read."""
        start = 0
        for file in self.files:
            opened = _open(file, name)
            for group in range(opened.num_row_groups):
                end = start + opened.metadata.row_group(group).num_rows
                here = rows[(rows >= start) & (rows < end)] - start
                start = end
                if len(here):
                    with _reading(file):
                        chunk = opened.read_row_group(group, columns=[name]).column(0).take(here)
                    yield chunk


@contextlib.contextmanager
def _reading(file: Path) -> Iterator[None]:
    """Turns pyarrow's errors about *file* into one line."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise CounError(f"cannot read parquet {file}: {first_line(error)}") from None


def _open(file: Path, column: str | None = None) -> pq.ParquetFile:
    with _reading(file):
        opened = pq.ParquetFile(file)
    if column is not None and column not in opened.schema_arrow.names:
        raise CounError(
            f"{file} has no column '{column}'; it has {', '.join(opened.schema_arrow.names)}"
        )
    return opened


def _files(path: Path) -> tuple[list[Path], list[Path]]:
    """Training and test files at *path*."""
    root = path if path.is_dir() else path.parent
    found = sorted(file for file in root.rglob("*.parquet") if _visible(file, root))
    if not path.is_dir():
        found = [file for file in found if file.parent == root]
    train, tests = ([f for f in found if _is(f, root, kind)] for kind in ("train", "test"))
    if not tests:
        tests = [f for f in found if _is(f, root, "val")]
    if not path.is_dir():
        if not tests or path in tests:
            raise CounError(
                f"hf: {path} stands alone; expected a folder that holds train.parquet and "
                "test.parquet (put both parts there and give the folder)"
            )
        train = [path]
    if not train or not tests:
        lacking = "train*.parquet" if not train else "test*.parquet or validation*.parquet"
        names = ", ".join(f.name for f in found[:4]) or "no .parquet at all"
        raise CounError(f"hf: {path} has no {lacking}; found {names}")
    for part in (train, tests):
        folders = sorted({str(f.parent.relative_to(root)) for f in part})
        if len(folders) > 1:
            raise CounError(
                f"hf: {path} holds several data sets ({', '.join(folders)}); give the folder of one"
            )
    return train, tests


def _visible(file: Path, root: Path) -> bool:
    return file.is_file() and not any(p.startswith(".") for p in file.relative_to(root).parts)


def _is(file: Path, root: Path, kind: str) -> bool:
    """Whether the file's name, or else its folder below *root*, starts with *kind*."""
    kinds = ("train", "test", "val")
    names = [file.name, *(part for part in reversed(file.relative_to(root).parts[:-1]))]
    named = next((name for name in names if name.lower().startswith(kinds)), "")
    return named.lower().startswith(kind)
