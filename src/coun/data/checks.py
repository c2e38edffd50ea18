"""Checks that every way of bringing data in shares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from coun.errors import CounError


def check_labels(train: np.ndarray, test: np.ndarray, classes: Sequence[str]) -> None:
    """Raise CounError unless both parts, (N,) and (M,) int64, are labelled by *classes*.

    Refused: an empty part, a label outside 0..K-1, a test class that no training row has
    and a repeated class name. Call it before a limit removes rows, and perhaps classes.
    """
    twice = [name for name, times in Counter(classes).items() if times > 1]
    if twice:
        raise CounError(f"duplicate class name '{twice[0]}'; class names must be unique")
    for part, labels in (("train", train), ("test", test)):
        if len(labels) == 0:
            raise CounError(f"the {part} part is empty; expected at least one image")
        wrong = np.flatnonzero((labels < 0) | (labels >= len(classes)))
        if len(wrong):
            raise CounError(
                f"{part} row {wrong[0]} has label {labels[wrong[0]]}; "
                f"expected 0..{len(classes) - 1} for {len(classes)} classes"
            )
    strange = np.flatnonzero(~np.isin(test, train))
    if len(strange):
        raise CounError(
            f"test row {strange[0]} is of class '{classes[test[strange[0]]]}', which no training "
            "row has; expected every test class in training"
        )


def numbered(train: np.ndarray) -> tuple[str, ...]:
    """Class names "0", "1", ... up to the largest training label."""
    return tuple(str(label) for label in range(int(train.max(initial=-1)) + 1))


def checked_ids(ids: Iterable[object], count: int) -> tuple[str, ...]:
    """*ids* as a tuple of unique, non-empty texts, one for each of *count* rows.

    Raises: CounError for another number of ids, or one that is empty, repeated or split over
        lines.
    """
    names = tuple(map(str, ids))
    if len(names) != count:
        raise CounError(f"{len(names)} ids for {count} rows; expected one id per row")
    bad = next(
        (row for row, name in enumerate(names) if not name or len(name.splitlines()) > 1), -1
    )
    if bad >= 0:
        raise CounError(f"id {names[bad]!r} of row {bad} must be one line of text")
    if len(set(names)) < count:
        name, times = Counter(names).most_common(1)[0]
        raise CounError(f"id '{name}' names {times} rows; ids must be unique")
    return names


def first_line(error: BaseException) -> str:
    """What *error* says, on one line: libraries like to add hints and memory addresses."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
