"""Forget requests from files: training row numbers as JSON, CSV or plain text."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from coun.data.checks import first_line
from coun.errors import CounError

JSON_KEYS = ("indices", "index", "forget")
CSV_COLUMNS = ("index", "idx", "row", "sample_id", "id")  # the first that is there counts
LARGEST = 2**63 - 1


def read_index(path: str | Path) -> Tensor:
    """Row numbers from *path*, in file order, (n,) int64, each at least 0.

    `.json`: a list of integers, or an object with one under "indices", "index" or "forget".
    `.csv`: the column called index, idx, row, sample_id or id; without a header, the first.
    Anything else: integers between spaces, commas or newlines; `#` starts a comment.

    Raises:
        CounError: unreadable, not UTF-8, empty, or a token that is no row number; names the
            file, the line and the token. Duplicates pass: `Split.by_index` refuses them.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise CounError(
            f"{path} is not UTF-8 text (byte {error.start}); expected integers"
        ) from None
    except OSError as error:
        raise CounError(f"cannot read forget request {path}: {first_line(error)}") from None
    reader = {".json": _json, ".csv": _csv}.get(path.suffix.lower(), _text)
    rows = [_row(path, place, token) for place, token in reader(path, text)]
    if not rows:
        raise CounError(f"{path} names no row; expected at least one integer")
    return torch.tensor(rows, dtype=torch.int64)


def _row(path: Path, place: str, token: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]+", token):
        raise CounError(f"{path} {place}: '{token}' is not an integer; expected row numbers")
    # The length test keeps int() away from texts it refuses to convert.
    if (token[0] == "-" and token.strip("-0")) or len(token) > 4000 or int(token) > LARGEST:
        raise CounError(f"{path} {place}: {token[:24]} is no row number; expected 0 or more")
    return int(token)


def _text(path: Path, text: str) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        for token in line.partition("#")[0].replace(",", " ").split():
            yield f"line {number}", token


def _json(path: Path, text: str) -> Iterator[tuple[str, str]]:
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise CounError(f"{path} line {error.lineno}: not JSON ({error.msg})") from None
    except (ValueError, RecursionError) as error:
        raise CounError(f"{path}: not JSON ({first_line(error)})") from None
    if isinstance(found, dict):
        found = next((found[key] for key in JSON_KEYS if key in found), None)
    if not isinstance(found, list):
        raise CounError(
            f"{path}: expected a list of integers, or an object with one under "
            f"{', '.join(JSON_KEYS)}"
        )
    for number, item in enumerate(found, 1):
        yield f"item {number}", json.dumps(item)


def _csv(path: Path, text: str) -> Iterator[tuple[str, str]]:
    reader = csv.reader(io.StringIO(text, newline=""))
    column, first = 0, True
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            names = [cell.strip().lower() for cell in cells]
            known = [name for name in CSV_COLUMNS if name in names]
            if first and known:
                column = names.index(known[0])
            elif first and not re.match(r"[+-]?[0-9]", names[0]):
                raise CounError(
                    f"{path} line {reader.line_num}: '{cells[0]}' is neither an integer nor a "
                    f"known header; expected a column called {', '.join(CSV_COLUMNS)}"
                )
            elif column >= len(cells):
                raise CounError(
                    f"{path} line {reader.line_num}: {len(cells)} cells; "
                    f"expected the index in cell {column + 1}"
                )
            else:
                yield f"line {reader.line_num}", names[column]
            first = False
    except csv.Error as error:
        raise CounError(f"{path} line {reader.line_num}: not CSV ({first_line(error)})") from None
