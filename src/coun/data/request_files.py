"""Lists of rows from files: row numbers or ids as JSON, CSV or plain text.

The wrong guess would forget other people's rows. So a file that can be read in two ways is
refused, with what was seen and how to say what is meant.
"""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from coun.data.checks import other_format, regular_file
from coun.data.conditions import Conditions, Where
from coun.data.id_columns import NO_COLUMNS, IdColumns
from coun.errors import CounError, first_line, unknown

if TYPE_CHECKING:
    from coun.data.data_set import Data

NUMBER_COLUMNS = ("index", "indices", "idx", "row", "rows", "row_number", "number", "forget")
ID_COLUMNS = ("id", "ids", "file", "files", "filename", "file_name", "path", "image")
LARGEST = 2**63 - 1
SHOWN = 3  # bad places in a message
DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "bars", ",": "commas"}

Cell = tuple[str, str]  # the place of a token in the file, and the token


def read_index(
    path: str | Path,
    column: str | None = None,
    where: Where | None = None,
    data: Data | None = None,
) -> Tensor:
    """Read row numbers from a file.

    `.json`: a list of integers, or an object with one such list under a known name.
    `.csv`, `.tsv`: the one column with a known name; a single column needs no header.
    Anything else: one number per line; `#` starts a comment.
    Known names are index, indices, idx, row, rows, row_number, number and forget.

    Args:
        path: the file; `~` is expanded.
        column: the column, or the name in a JSON object, where names do not say it.
        where: of a `.csv` or `.tsv` file, read only the lines that have one of these values in
            each of these columns.
        data: what the numbers are of; a column that holds its ids or counts otherwise is refused.

    Returns: row numbers in file order, each at least 0, (n,) int64. Repetitions stay:
        `Split.by_index` refuses them.

    Raises: CounError for a file that is unreadable, not UTF-8, empty, or ambiguous, and for
        what is not a row number; names the file, the lines and the first token.

    >>> import pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp(), "rows.csv")
    >>> _ = file.write_text("name,row\\nann,17\\nben,42\\n")
    >>> read_index(file)
    tensor([17, 42])
    """
    path = regular_file(path)
    cells = _cells(path, column, where or {}, data, numbers=True)
    _refuse(path, cells, _is_number, "is not an integer; expected row numbers")
    _refuse(
        path,
        cells,
        lambda token: not re.match(r"[+-]?0[0-9]", token),
        "begins with 0, as ids may; read ids with --forget-ids, or write row numbers without it",
    )
    _refuse(path, cells, _in_range, "is not a row number; expected 0 or more")
    return torch.tensor([int(token) for _, token in cells], dtype=torch.int64)


def read_ids(
    path: str | Path,
    column: str | None = None,
    where: Where | None = None,
    data: Data | None = None,
) -> list[str]:
    """Read ids of rows from a file.

    `.json`: a list of texts, or an object with one such list under a known name.
    `.csv`, `.tsv`: the one column with a known name; a single column needs no header.
    Anything else: one id per line; a line that starts with `#` is a comment.
    Known names are id, ids, file, files, filename, file_name, path, image, and those
    that end in "_id" among several columns.

    Args:
        path: the file; `~` is expanded.
        column: the column, or the name in a JSON object, where names do not say it.
        where: of a `.csv` or `.tsv` file, read only the lines that have one of these values in
            each of these columns.
        data: what the ids are of; its column of ids has a known name, and others are refused.

    Returns: ids in file order, as they are written; blanks at the ends of a line of text are
        left out.

    Raises: CounError for a file that is unreadable, not UTF-8, empty, or ambiguous, and for a
        value of *where* that no line has.

    >>> import pathlib, tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp(), "names.txt")
    >>> _ = file.write_text("cat/7.png\\ndog/3.png\\n")
    >>> read_ids(file)
    ['cat/7.png', 'dog/3.png']
    >>> file = file.with_name("customers.csv")
    >>> _ = file.write_text("path,customer\\ncat/7.png,Ann\\ndog/3.png,Ben\\n")
    >>> read_ids(file, where={"customer": ["Ben"]})
    ['dog/3.png']
    """
    path = regular_file(path)
    return [token for _, token in _cells(path, column, where or {}, data, numbers=False)]


def _cells(
    path: Path, column: str | None, where: Where, data: Data | None, *, numbers: bool
) -> list[Cell]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise _not_text(path, error.start) from None
    except OSError as error:
        raise CounError(f"cannot read forget request {path}: {first_line(error)}") from None
    if "\0" in text:
        raise _not_text(path, text.index("\0"))
    suffix = path.suffix.lower()
    if where and suffix not in (".csv", ".tsv"):
        raise CounError(
            f"{path} has no columns in which to look for {', '.join(where)}; expected a .csv file, "
            "or leave out --where"
        )
    if suffix == ".json":
        cells = list(_json(path, text, column, numbers))
    elif suffix in (".csv", ".tsv"):
        delimiter = "\t" if suffix == ".tsv" else ","
        cells = list(_table(path, text, column, numbers, delimiter, where, data))
    elif column is not None:
        raise CounError(f"{path} has no columns; leave out the column, or give a .csv file")
    else:
        cells = list(_lines(path, text, numbers))
    if not cells:
        raise CounError(f"{path} names no row; expected at least one")
    _refuse(path, cells, bool, "is empty; expected a row in each place")
    return cells


def _not_text(path: Path, place: int) -> CounError:
    """The error for a file that is not text, with what to do about formats that people have."""
    if path.suffix.lower() == ".parquet":
        return CounError(f"{path} is a parquet file; write the column of the rows to a .csv file")
    if advice := other_format(path):
        return CounError(f"{path} {advice}")
    return CounError(f"{path} is not UTF-8 text (byte {place}); save it with the encoding UTF-8")


def _refuse_other_delimiter(path: Path, text: str, delimiter: str) -> None:
    """Refuse a table whose cells are divided by another character than its suffix says."""
    lines = [line for line in text.splitlines() if line.strip()][:2]
    if not lines or delimiter in lines[0]:
        return
    other = next((each for each in DELIMITERS if all(each in line for line in lines)), None)
    if other is not None:
        raise CounError(
            f"{path} divides its cells by {DELIMITERS[other]}; expected {DELIMITERS[delimiter]} in "
            f"a {path.suffix} file (or a .txt file with one row per line)"
        )


def _lines(path: Path, text: str, numbers: bool) -> Iterator[Cell]:
    for number, line in enumerate(text.splitlines(), 1):
        token = (line.partition("#")[0] if numbers or line.lstrip()[:1] == "#" else line).strip()
        if numbers and len(re.split(r"[\s,;]+", token)) > 1:
            raise CounError(
                f"{path} line {number}: '{token}' can be read in several ways; write one row "
                "number per line, without separators"
            )
        if token:
            yield f"line {number}", token


def _json(path: Path, text: str, column: str | None, numbers: bool) -> Iterator[Cell]:
    try:
        content = json.loads(text, object_pairs_hook=partial(_object, path))
    except CounError:
        raise
    except json.JSONDecodeError as error:
        raise CounError(f"{path} line {error.lineno}: not JSON ({error.msg})") from None
    except (ValueError, RecursionError) as error:
        raise CounError(f"{path}: not JSON ({first_line(error)})") from None
    if isinstance(content, dict):
        content = content[_chosen(path, list(content), column, numbers)]
    if not isinstance(content, list):
        kind = "integers" if numbers else "texts"
        raise CounError(
            f"{path}: expected a list of {kind}, or an object with one under "
            f"{', '.join(NUMBER_COLUMNS if numbers else ID_COLUMNS)}"
        )
    texts = {item for item in content if isinstance(item, str)} if not numbers else set()
    both = next((n for n in content if type(n) is int and str(n) in texts), None)
    if both is not None:
        raise CounError(f'{path} names {both} and "{both}", which is one id; name it once')
    for number, item in enumerate(content, 1):
        yield f"item {number}", _json_token(path, number, item, numbers)


def _json_token(path: Path, number: int, item: Any, numbers: bool) -> str:
    if numbers:
        return json.dumps(item)
    if not isinstance(item, str | int) or isinstance(item, bool):
        raise CounError(f"{path} item {number}: {json.dumps(item)} is not text; expected an id")
    return str(item)


def _object(path: Path, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise CounError(f"{path} has '{twice}' twice in one object; expected each name once")
    return content


def _table(
    path: Path,
    text: str,
    column: str | None,
    numbers: bool,
    delimiter: str,
    where: Where,
    data: Data | None,
) -> Iterator[Cell]:
    _refuse_other_delimiter(path, text, delimiter)
    lines = list(io.StringIO(text, newline=""))
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    end = 0  # of the row before, in lines
    place: int | None = None
    width = 0
    conditions = Conditions(path, where)
    id_columns = NO_COLUMNS if data is None else data.id_columns
    try:
        for cells in reader:
            start, end = end, reader.line_num
            names = [cell.strip() for cell in cells]
            line = f"line {end}"
            if not any(names):
                continue
            values = names if numbers else cells  # an id is kept as it is written
            if place is None:
                _refuse_unnamed_header(path, line, names, column)
                width, place = len(values), 0
                headed = len(values) > 1 or column is not None or bool(where)
                if headed or _is_header(names[0], numbers, data):
                    for name in where:
                        conditions.places[name] = names.index(_chosen(path, names, name, numbers))
                    if not numbers:
                        column = column or _column_of(id_columns, names)
                    chosen = _chosen(path, names, column, numbers)
                    _refuse_other_column(path, chosen, numbers, id_columns)
                    place = names.index(chosen)
                    continue
            if end - start > 1 and all(
                row.count(delimiter) == width - 1 for row in lines[start:end]
            ):
                raise CounError(
                    f"{path} line {start + 1}: quotes that are opened here close in {line}, though "
                    "each line between can be a row; remove stray quotes, or leave out that column"
                )
            if len(values) != width:
                raise CounError(
                    f"{path} {line}: {len(values)} cells; expected {width} as in the first line"
                )
            if conditions.hold(names):
                yield line, values[place]
    except csv.Error as error:
        raise CounError(
            f"{path} line {reader.line_num}: not CSV ({first_line(error)}); close quotes that were "
            "left open"
        ) from None
    conditions.check()


def _refuse_unnamed_header(path: Path, line: str, names: list[str], column: str | None) -> None:
    """Refuse a first line "0", which pandas writes above a column that has no name."""
    if names == ["0"] and column is None:
        raise CounError(
            f"{path} {line}: '0' can be row 0, or the header that pandas writes above a column "
            "without a name; name the column, for example index or id, or write a .txt file"
        )


def _column_of(data: IdColumns, names: list[str]) -> str | None:
    """The one of *names* that is called as the ids of *data*, or the only one if it is a column."""
    if data.column in names:
        return data.column
    return names[0] if len(names) == 1 and names[0] in data.columns else None


def _refuse_other_column(path: Path, name: str, numbers: bool, data: IdColumns) -> None:
    """Refuse a column that is called as one of *data* that holds other names or numbers of rows."""
    if name not in data.columns:
        return
    if numbers and (name == data.column or name in data.possible):
        raise CounError(
            f"{path}: column '{name}' is called as a column of the data whose values differ from "
            "the row numbers; read ids with --forget-ids, or rename it if it holds row numbers"
        )
    if not numbers and name != data.column:
        ids = f"column '{data.column}'" if data.column else "the row numbers"
        raise CounError(
            f"{path}: column '{name}' is called as a column of the data, whose ids are {ids}; list "
            "these ids, or rename the column if it holds them"
        )


def _is_header(cell: str, numbers: bool, data: Data | None) -> bool:
    """Whether the first cell of a single column names it; for numbers, any word does."""
    if numbers:
        return not _is_number(cell)
    if (
        data is not None
        and cell in data.id_columns.columns
        and cell not in {*data.ids, *data.test.ids}
    ):
        return True
    return cell.lower() in NUMBER_COLUMNS + ID_COLUMNS  # "..._id" may as well be an id


def _chosen(path: Path, names: list[str], column: str | None, numbers: bool) -> str:
    """The column to read: the given one, or the only one with a known name."""
    listing = ", ".join(f"'{name}'" for name in names)
    if column is not None:
        if names.count(column) == 1:
            return column
        if column in names:
            raise CounError(f"{path} has several columns '{column}'; column names must be unique")
        raise CounError(f"{path}: {unknown('column', column, names)}")
    hits = [name for name in names if _known(name, True) or _known(name, False)]
    if len(hits) != 1:
        several = f"{len(hits)} of them may name rows" if hits else "none of them has a known name"
        raise CounError(
            f"{path} has columns {listing}; {several}; choose one with --id-column NAME, and give "
            "the columns names in the first line"
        )
    if not _known(hits[0], numbers):
        options = ("ids", "--forget-ids") if numbers else ("row numbers", "--forget-index")
        raise CounError(
            f"{path}: column '{hits[0]}' holds {options[0]} by its name; read it with "
            f"{options[1]}, or give --id-column {shlex.quote(hits[0])}"
        )
    return hits[0]


def _known(name: str, numbers: bool) -> bool:
    word = name.lower()
    if numbers:
        return word in NUMBER_COLUMNS
    return word in ID_COLUMNS or word.endswith("_id")


def _is_number(token: str) -> bool:
    return re.fullmatch(r"[+-]?[0-9]+", token) is not None


def _in_range(token: str) -> bool:
    # The length test keeps int() away from texts that it refuses to convert.
    negative = token[0] == "-" and bool(token.strip("-0"))
    return not negative and len(token) <= 4000 and int(token) <= LARGEST


def _refuse(path: Path, cells: Iterable[Cell], fits: Callable[[str], bool], words: str) -> None:
    """Raise CounError that names the cells that do not fit."""
    bad = [(place, token) for place, token in cells if not fits(token)]
    if bad:
        others = ", ".join(place for place, _ in bad[1 : SHOWN + 1])
        more = f" (also {others}{', ...' if len(bad) > SHOWN + 1 else ''})" if others else ""
        raise CounError(f"{path} {bad[0][0]}: '{bad[0][1][:24]}' {words}{more}")
