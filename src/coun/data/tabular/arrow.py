"""Folders that Hugging Face `datasets` wrote with `save_to_disk`, read without that library."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from coun.data.image_stack import LONG
from coun.data.tabular.columns import Features, features_of
from coun.errors import CounError, first_line, unknown

STATE, SPLITS = "state.json", "dataset_dict.json"


def is_saved(path: Path) -> bool:
    """Whether `save_to_disk` wrote the folder."""
    return (path / STATE).is_file() or (path / SPLITS).is_file()


def parts(
    path: Path, tests: Sequence[str], *, chosen: str | None
) -> tuple[ArrowPart, ArrowPart | None]:
    """The training part of a saved folder, and the first of *tests* that there is.

    Raises: CounError for a folder without a training part, or without the *chosen* test part.
    """
    if (path / STATE).is_file():
        return ArrowPart.of(path), None
    splits = [str(name) for name in _json(path / SPLITS).get("splits", [])]
    if "train" not in splits:
        raise CounError(f"hf: {path} has the splits {', '.join(splits)}; expected train")
    test = next((s for t in tests for s in splits if s == t or s.startswith(t)), None)
    if test is None and chosen is not None:
        raise unknown("split", chosen, splits)
    return ArrowPart.of(path / "train"), None if test is None else ArrowPart.of(path / test)


@dataclass(frozen=True)
class ArrowPart:
    """One part of a data set: Arrow files joined in order, mapped and not read."""

    files: list[Path]
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, folder: Path) -> ArrowPart:
        """The part in *folder*, whose files its state lists."""
        state = _json(folder / STATE)
        if state.get("_indices_data_files"):
            raise CounError(
                f"hf: {folder} has an indices file; save it again with flatten_indices()"
            )
        names = [Path(str(entry["filename"])).name for entry in state.get("_data_files", [])]
        if not names:
            raise CounError(f"hf: {folder / STATE} lists no data files; save the data set again")
        return cls([folder / name for name in names])

    @cached_property
    def _table(self) -> pa.Table:
        tables = []
        for file in self.files:
            try:
                tables.append(pa.ipc.open_stream(pa.memory_map(str(file))).read_all())
            except (pa.ArrowException, OSError) as error:
                raise CounError(f"cannot read arrow {file}: {first_line(error)}") from None
        return pa.concat_tables(tables)

    def features(self) -> Features:
        """What the columns hold."""
        return features_of(self._table.schema)

    def column(self, name: str) -> pa.ChunkedArray:
        """All values of one column."""
        column = self._table.column(name)
        try:
            column.validate(full=True)  # texts that are not UTF-8 cannot be read later
        except pa.ArrowInvalid as error:
            raise CounError(
                f"cannot read arrow {self.files[0].parent}, column '{name}': {first_line(error)}"
            ) from None
        return column

    def chunks(self, name: str, rows: np.ndarray) -> Iterator[pa.ChunkedArray]:
        """Values at sorted *rows*, some thousands at a time."""
        for start in range(0, len(rows), LONG):
            yield self._table.column(name).take(pa.array(rows[start : start + LONG]))


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise CounError(f"cannot read {path}: {first_line(error)}") from None
    if not isinstance(content, dict):
        raise CounError(f"{path} is not the record of a saved data set; save it again")
    return content
