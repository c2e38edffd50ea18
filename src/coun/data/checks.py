"""Checks that every way of bringing data in shares."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from coun.errors import CounError, first_line
from coun.files import expanded

NAMEABLE = "must be one line of UTF-8 text without control characters, outer blanks, and # in front"
_OTHER_FORMATS = {  # by their first bytes, and what to do with each
    b"PK\x03\x04": "is a workbook of Excel or a zip file; save it as CSV with the encoding UTF-8",
    b"\xd0\xcf\x11\xe0": "is a workbook of Excel; save it as CSV with the encoding UTF-8",
    b"\x1f\x8b": "is compressed by gzip; unpack it first",
    b"PAR1": "is a parquet file; name it .parquet, or write the column of the rows to a .csv file",
    b"\x93NUMPY": "is a file of NumPy; write the rows with numpy.savetxt(file, rows, fmt='%d')",
    b"\xff\xfe": "is text with the encoding UTF-16; save it with the encoding UTF-8",
    b"\xfe\xff": "is text with the encoding UTF-16; save it with the encoding UTF-8",
}
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x9f]")


def check_labels(train: np.ndarray, test: np.ndarray, classes: Sequence[str]) -> None:
    """Raise CounError unless both parts, (N,) and (M,) int64, are labelled by *classes*.

    Refused: an empty part, a label outside 0..K-1, a test class that no training row has, a
    repeated class name and names that a reader cannot tell apart. Call it before a limit removes
    rows, and perhaps classes.
    """
    twice = [name for name, times in Counter(classes).items() if times > 1]
    if twice:
        raise CounError(f"duplicate class name '{twice[0]}'; class names must be unique")
    check_class_names(classes)
    for part, labels in (("train", train), ("test", test)):
        if len(labels) == 0:
            raise CounError(f"the {part} part is empty; expected at least one row")
        wrong = np.flatnonzero((labels < 0) | (labels >= len(classes)))
        if len(wrong):
            hint = (
                "; remove rows without a label, or give labels as text" if labels.min() < 0 else ""
            )
            raise CounError(
                f"{part} row {wrong[0]} has label {labels[wrong[0]]}; "
                f"expected 0..{len(classes) - 1} for {len(classes)} classes{hint}"
            )
    new_rows = np.flatnonzero(~np.isin(test, train))
    if len(new_rows):
        raise CounError(
            f"test row {new_rows[0]} is of class '{classes[test[new_rows[0]]]}', which no "
            "training row has; expected every test class in training"
        )
    if len(classes) == 1:  # of several, all but one may have been forgotten
        raise CounError(
            f"all {len(train):,} training rows are of class '{classes[train[0]]}'; expected two "
            "classes or more"
        )


def check_class_names(classes: Iterable[str]) -> None:
    """Raise CounError if a reader cannot tell two names apart: a request would forget one only."""
    shown: dict[str, str] = {}
    for name in classes:
        other = shown.setdefault(" ".join(unicodedata.normalize("NFC", name).split()), name)
        if other != name:
            raise CounError(
                f"class names {other!r} and {name!r} differ only in blanks or in the Unicode form "
                "of letters; write them alike if they mean one class, or rename one"
            )


def checked_ids(ids: Iterable[object], count: int) -> tuple[str, ...]:
    """*ids* as a tuple of unique texts, one for each of *count* rows.

    Raises: CounError for another number of ids, or one that is repeated or that no file of
        ids could name.
    """
    if isinstance(ids, str | bytes):
        raise CounError("ids are one text; expected a list with one id per row")
    names = tuple(map(str, ids))
    if len(names) != count:
        raise CounError(f"{len(names)} ids for {count} rows; expected one id per row")
    bad = next((row for row, name in enumerate(names) if not nameable(name)), -1)
    if bad >= 0:
        raise CounError(f"id {names[bad]!r} of row {bad} {NAMEABLE}; rename it")
    if len(set(names)) < count:
        name, times = Counter(names).most_common(1)[0]
        raise CounError(f"id '{name}' names {times} rows; ids must be unique")
    return names


def nameable(name: str) -> bool:
    """Whether a text file can list the id *name*, one per line, with comments behind #."""
    # Python keeps bytes of a file name that are not UTF-8 as lone surrogates.
    whole = name.encode(errors="ignore").decode() == name and "\0" not in name
    whole = whole and not _CONTROL.search(name)  # such as escape codes, which a terminal obeys
    return whole and len(name.splitlines()) == 1 and name == name.strip() and name[0] != "#"


def whole_number(text: str) -> str | None:
    """The whole number that *text* is, without zeros, blanks and points around it; else None.

    >>> whole_number("007"), whole_number(" 7.0"), whole_number("7.5")
    ('7', '7', None)
    """
    whole = re.fullmatch(r"\s*\+?0*([0-9]+)(\.0*)?\s*", text)
    return whole and whole[1]


def regular_file(path: str | Path) -> Path:
    """*path* with `~` expanded, which may be missing but is not a pipe, device, socket or folder.

    Raises: CounError for one of these: reading it might never end.
    """
    file = expanded(path)
    try:
        special = file.exists() and not file.is_file()
    except OSError as error:
        raise CounError(f"cannot read {file}: {first_line(error)}") from None
    if special:
        kind = "a folder" if file.is_dir() else "a pipe, device or socket"
        raise CounError(f"{file} is {kind}; expected a file")
    return file


def delimiter(header: str) -> str:
    """The character that divides the cells of a table: the most frequent one in its header.

    >>> delimiter('"size, in cm";label')
    ';'
    """
    return max("\t;|,", key=re.sub('"[^"]*"', "", header).count)


def other_format(path: Path) -> str:
    """What a file is that is not text, and what to do about it; empty where that is not known."""
    with path.open("rb") as file:
        start = file.read(8)
    return next((a for first, a in _OTHER_FORMATS.items() if start.startswith(first)), "")


def memory_of_machine() -> int | None:
    """Bytes of memory of this machine; None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
