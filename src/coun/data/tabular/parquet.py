"""Columns of parquet files, read a row group at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from coun.data.tabular.columns import Features, features_of
from coun.data.tabular.shards import misordered
from coun.errors import CounError, first_line


@dataclass(frozen=True)
class ParquetPart:
    """One part of a data set: parquet files joined in order."""

    files: list[Path]

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know about how the files are joined."""
        pair = misordered(self.files)
        if pair is None:
            return ()
        return (f"shards are joined in name order, {pair[0].name} before {pair[1].name}",)

    def features(self) -> Features:
        """What the columns hold, from the first file."""
        return features_of(_open(self.files[0]).schema_arrow)

    def column(self, name: str) -> pa.ChunkedArray:
        """All values of one column."""
        tables = []
        for file in self.files:
            opened = _open(file, name)
            if opened.metadata.num_rows == 0 and len(self.files) > 1:
                raise CounError(f"{file} has no rows; expected some in every shard")
            with _reading(file):
                tables.append(opened.read(columns=[name]))
                tables[-1].validate(full=True)  # texts that are not UTF-8 cannot be read later
        types = {table.schema.field(name).type for table in tables}
        if len(types) > 1:
            kinds = ", ".join(sorted(map(str, types)))
            raise CounError(f"column '{name}' has types {kinds} in different files; expected one")
        return pa.concat_tables(t.replace_schema_metadata() for t in tables).column(name)

    def chunks(self, name: str, rows: np.ndarray) -> Iterator[pa.ChunkedArray]:
        """Values at sorted *rows*, one chunk per row group; groups without them are not read."""
        start = 0
        for file in self.files:
            opened = _open(file, name)
            for group in range(opened.num_row_groups):
                end = start + opened.metadata.row_group(group).num_rows
                group_rows = rows[(rows >= start) & (rows < end)] - start
                start = end
                if len(group_rows):
                    with _reading(file):
                        column = opened.read_row_group(group, columns=[name]).column(0)
                        chunk = column.take(group_rows)
                    yield chunk


@contextlib.contextmanager
def _reading(file: Path) -> Iterator[None]:
    """Turn pyarrow's errors about *file* into one line."""
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
