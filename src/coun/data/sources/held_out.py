"""The test part of a source that has none: a share that is drawn, or rows that are listed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from coun.data.checks import regular_file
from coun.data.id_columns import NO_COLUMNS, IdColumns
from coun.data.sources.table import Part, Table
from coun.data.subsets import stratified
from coun.errors import CounError, first_line, nearest

SHARE = 0.2
SEED = 0


@dataclass(frozen=True)
class HeldOut:
    """Which rows of a source without a test part are held out for testing.

    Args:
        share: share of the rows, stratified by class, 0 < share < 1; 0.2 by default.
        seed: seed of that draw; 0 by default.
        ids: ids of the rows instead, or a text file with one of them per line.
    """

    share: float | None = None
    seed: int | None = None
    ids: str | Path | Sequence[str] | None = None

    def __bool__(self) -> bool:
        """Whether the user chose anything."""
        return any(value is not None for value in (self.share, self.seed, self.ids))

    def split(
        self,
        rows: Part,
        classes: Sequence[str],
        id_columns: IdColumns = NO_COLUMNS,
    ) -> Table:
        """Split all *rows* of a source; each keeps its number and its id in the whole source.

        Args: id_columns: of the source, as for `Data`.

        Raises: CounError for a share out of range, for ids that the source does not have, and
            for ids together with a share or a seed.
        """
        count, problems = len(rows.labels), list[str]()
        if self.ids is not None:
            test_rows, how = self._listed(rows, id_columns, problems), "as --test-ids lists them"
        else:
            share = SHARE if self.share is None else self.share
            seed = SEED if self.seed is None else self.seed
            test_rows = _drawn(rows.labels, classes, share, seed, problems)
            how = f"a stratified share of {share:g} drawn with seed {seed}"
        note = (
            f"{len(test_rows):,} of {count:,} rows are held out for testing, {how}; choose "
            "others with --test-share, --test-seed or --test-ids"
        )
        train_rows = np.setdiff1d(np.arange(count), test_rows)
        parts = rows.take(train_rows), rows.take(test_rows)
        return Table(*parts, tuple(classes), (note,), tuple(problems), id_columns)

    def _listed(self, rows: Part, id_columns: IdColumns, problems: list[str]) -> np.ndarray:
        """Sorted positions of the rows whose ids are listed."""
        if self.share is not None or self.seed is not None:
            raise CounError(
                "--test-ids cannot be combined with --test-share or --test-seed; give one of them"
            )
        ids = _read_ids(self.ids) if isinstance(self.ids, str | Path) else self.ids or ()
        if meaning := id_columns.other_meaning(ids):
            problems.append(f"test {meaning}")
        names = rows.names or [str(number) for number in range(len(rows.labels))]
        position = {name: row for row, name in enumerate(names)}
        unknown_id = next((name for name in ids if name not in position), None)
        if unknown_id is not None:
            problems.append(
                f"test id '{unknown_id}' names no row{nearest(unknown_id, names)}; "
                f"ids look like '{names[0]}'"
            )
        return np.unique([position[name] for name in ids if name in position]).astype(np.int64)


def _drawn(
    labels: np.ndarray, classes: Sequence[str], share: float, seed: int, problems: list[str]
) -> np.ndarray:
    """Sorted positions of a stratified share of the rows."""
    if not 0 < share < 1:
        raise CounError(f"--test-share is {share}; expected a number between 0 and 1")
    single = np.flatnonzero(np.bincount(labels) == 1)  # a class without rows needs no test rows
    if len(single):
        problems.append(
            f"class '{classes[single[0]]}' has 1 row; expected 2 or more, because a part of each "
            "class is held out for testing"
        )
    count = max(1, round(len(labels) * share))
    return stratified(torch.from_numpy(labels), count, seed).numpy()


def _read_ids(path: str | Path) -> list[str]:
    """Ids from a UTF-8 text file with one of them per line; a byte order mark may be there."""
    try:
        text = regular_file(path).read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise CounError(f"cannot read test ids {path}: {first_line(error)}") from None
    return [line.strip() for line in text.splitlines() if line.strip()]
