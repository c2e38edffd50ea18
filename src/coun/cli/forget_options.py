"""The options that say what to forget, and the words in which the request is repeated.

Every option may be repeated, and all of them together are one request: the union of what
they name.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coun.cli import app
from coun.errors import CounError, visible
from coun.trust import code_and_argument

if TYPE_CHECKING:
    import numpy as np

    from coun.data import Data, Examples, Split
    from coun.data.data_set import AbsentRows
    from coun.data.partition import Partition
    from coun.data.requests import Request

SHOWN = 5  # ids and classes that the repeated request lists


@dataclass(frozen=True)
class ForgetOptions:
    """What the user said about the rows to forget, each option as often as it was given."""

    fraction: tuple[float, ...] = ()
    seed: tuple[int, ...] = ()
    classes: tuple[str, ...] = ()
    index: tuple[Path, ...] = ()
    ids: tuple[Path, ...] = ()
    match: tuple[Path, ...] = ()
    subclass: tuple[str, ...] = ()
    memorised: tuple[str, ...] = ()
    worst: tuple[float, ...] = ()
    client: tuple[int, ...] = ()
    kinds: tuple[str, ...] = ()
    id_column: str | None = None
    where: tuple[str, ...] = ()
    with_copies: bool = False

    def __bool__(self) -> bool:
        """Whether any option names rows."""
        apart = ("seed", "id_column", "where", "with_copies")
        return any(getattr(self, entry.name) for entry in fields(self) if entry.name not in apart)


WHERE_HELP = (
    "Of a csv file of rows, only the lines with VALUE in COLUMN, for example customer=Ann. May be "
    "repeated: one of the values of each column must fit."
)
_FILE = click.Path(path_type=Path)
_DECLARATIONS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    (
        "fraction",
        "--forget-fraction",
        {
            "type": float,
            "metavar": "SHARE",
            "help": "Share of the rows to draw at random. All --forget options may be repeated; "
            "together they are one request.",
        },
    ),
    (
        "seed",
        "--forget-seed",
        {"type": int, "metavar": "N", "help": "Seed of the random draw.  [default: 0]"},
    ),
    (
        "classes",
        "--forget-class",
        {
            "metavar": "CLASS",
            "help": "Class to forget, by name or label; name:X or label:X says which.",
        },
    ),
    (
        "index",
        "--forget-index",
        {
            "type": _FILE,
            "metavar": "FILE",
            "help": "File of row numbers: text with one per line, csv or json. Numbers count in "
            "the source's own order, also with --limit.",
        },
    ),
    (
        "ids",
        "--forget-ids",
        {
            "type": _FILE,
            "metavar": "FILE",
            "help": "File of row ids, as 'coun rows' shows them: text with one per line, csv or "
            "json.",
        },
    ),
    (
        "match",
        "--forget-match",
        {
            "type": _FILE,
            "metavar": "PATH",
            "help": "Picture, or folder of pictures: rows with the same pixels are forgotten.",
        },
    ),
    (
        "subclass",
        "--forget-subclass",
        {"metavar": "COLUMN=NAME", "help": "Finer class, in another label column of the source."},
    ),
    (
        "memorised",
        "--forget-memorised",
        {
            "metavar": "SHARE[:LEVEL]",
            "help": "Share of the rows that models memorise most; LEVEL is high, middle, low or "
            "mix. Trains 8 models on halves of the data.",
        },
    ),
    (
        "worst",
        "--forget-worst",
        {"type": float, "metavar": "SHARE", "help": "Share of the rows with most influence."},
    ),
    (
        "client",
        "--forget-client",
        {"type": int, "metavar": "N", "help": "Rows of one client of a federation, from 0."},
    ),
    (
        "kinds",
        "--forget",
        {
            "metavar": "KIND[:KEY=VALUE,...]",
            "help": "Request of any kind with its settings, as random:fraction=0.1,seed=3; KIND "
            "may be a class of your own, ./file.py:Class.",
        },
    ),
)


_option = app.option_on("Rows to forget")


def forget_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options; it receives them as one argument, `forget`.

    The command takes `forget.id_column` from there as well, where it loads a source.
    """

    @functools.wraps(command)
    def with_request(**values: Any) -> Any:
        names = [entry.name for entry in fields(ForgetOptions)]
        forget = ForgetOptions(**{name: values.pop(f"forget_{name}") for name in names})
        return command(forget=forget, **values)

    return app.options(
        *(
            _option(flag, f"forget_{name}", multiple=True, **settings)
            for name, flag, settings in _DECLARATIONS
        ),
        _option(
            "--id-column",
            "forget_id_column",
            metavar="NAME",
            help="Column of the ids, in request files and in a source with columns.",
        ),
        _option("--where", "forget_where", multiple=True, metavar="COLUMN=VALUE", help=WHERE_HELP),
        _option(
            "--with-copies",
            "forget_with_copies",
            is_flag=True,
            help="Also forget exact copies of the rows, and leave copies out of the test part.",
        ),
    )(with_request)


def split_from_options(
    data: Data,
    forget: ForgetOptions,
    *,
    earlier: Split | None = None,
    score: Callable[[Request], np.ndarray] | None = None,
    partition: Partition | None = None,
) -> Split | None:
    """Apply the options to *data*, and repeat the request on standard error before it starts.

    Args:
        earlier: what the model to start from has forgotten already.
        score: computes scores per training row, (N,), for a request that looks at models.
        partition: which client of a federation holds which rows.

    Returns: the split, or None where no option names rows.

    Raises: CounError for options or files that do not fit the data.
    """
    if forget.seed and not forget.fraction:
        raise CounError("--forget-seed needs --forget-fraction, the share to draw")
    if forget.with_copies and not forget:
        raise CounError("--with-copies needs an option that names rows")
    if not forget:
        return None
    from coun.data import Split, with_copies

    typed_requests = requests(data, forget, partition)
    scores = {
        request: _scores(request, score) for request in typed_requests if request.needs_scores
    }
    split = Split.of(data, *typed_requests, seed=_seed(forget), scores=scores, earlier=earlier)
    if forget.with_copies:
        split = with_copies(data, split)
    for line in summary(data, split):
        click.echo(visible(line), err=True)
    return split


def requests(
    data: Data, forget: ForgetOptions, partition: Partition | None = None
) -> list[Request]:
    """The typed requests that the options mean; files are read here."""
    from coun.data import read_ids, read_index
    from coun.data.content import rows_like
    from coun.data.requests import Class, Client, Listed, Random, Subclass, parse

    column, where = forget.id_column, values_by_column(forget.where)
    if where and not (forget.ids or forget.index):
        raise CounError("--where needs --forget-ids or --forget-index with a .csv file of rows")
    typed_requests: list[Request] = []
    if forget.fraction:
        share = math.fsum(forget.fraction)
        if not all(0 < part < 1 for part in (*forget.fraction, share)):
            raise CounError(f"--forget-fraction is {share:g}; expected a number between 0 and 1")
        typed_requests.append(Random(fraction=share, seed=_seed(forget)))
    typed_requests += [Class(name=name) for name in forget.classes]
    for client in forget.client:
        if client < 0:
            raise CounError(f"--forget-client is {client}; expected 0 or more")
        typed_requests.append(Client(client=client, partition=partition))
    typed_requests += [
        Listed.of_numbers(read_index(file, column, where, data)) for file in forget.index
    ]
    typed_requests += [
        Listed(ids=tuple(read_ids(file, column, where, data))) for file in forget.ids
    ]
    if forget.match:
        rows, test_rows = rows_like(data, forget.match)
        typed_requests.append(
            Listed(rows=tuple(rows.tolist()), test_rows=tuple(test_rows.tolist()))
        )
    for text in forget.subclass:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise CounError(f"--forget-subclass is '{text}'; expected COLUMN=NAME")
        typed_requests.append(Subclass(column=name, name=value))
    for text in forget.memorised:
        number, _, level = text.partition(":")
        typed_requests.append(
            parse({"kind": "memorised", "fraction": number, "level": level or "high"})
        )
    typed_requests += [parse({"kind": "worst_case", "fraction": part}) for part in forget.worst]
    return typed_requests + [parse(_settings(text), trust=True) for text in forget.kinds]


def values_by_column(conditions: Iterable[str]) -> dict[str, list[str]]:
    """The values of each column that options `COLUMN=VALUE` name.

    >>> values_by_column(["customer=Ann", "customer=Ben"])
    {'customer': ['Ann', 'Ben']}
    """
    values: dict[str, list[str]] = {}
    for text in conditions:
        column, equals, value = (part.strip() for part in text.partition("="))
        if not (column and equals):
            raise CounError(f"--where is '{text}'; expected COLUMN=VALUE")
        values.setdefault(column, []).append(value)
    return values


def _settings(text: str) -> dict[str, Any]:
    """The record of a request from `KIND:KEY=VALUE,...`; a value in brackets is JSON."""
    from coun.data.requests import kinds

    own = code_and_argument(text)
    kind, _, listing = text.partition(":")
    if own is not None and kind not in kinds():
        kind, listing = own
    record: dict[str, Any] = {"kind": kind}
    for pair in re.split(r",(?=\w+=)", listing) if text != kind else []:
        key, equals, value = pair.partition("=")
        if not (key and equals) or key in record:
            raise CounError(f"--forget is '{text}'; expected KIND:KEY=VALUE,... with each KEY once")
        try:
            record[key] = json.loads(value) if value[:1] in ("[", "{") else value
        except ValueError:
            raise CounError(f"--forget {kind}: {key} is '{value}', which is not JSON") from None
    return record


def summary(data: Data, split: Split) -> list[str]:
    """Repeat a request in a few lines: how many rows, of which classes, which first, copies."""
    from coun.data import copies
    from coun.data.cache import entries
    from coun.data.sources import argument_of

    rows = dict(zip(data.train.numbers.tolist(), _ids_and_labels(data.train), strict=True))
    if data.absent is not None:
        rows |= dict(zip(data.absent.numbers.tolist(), _ids_and_labels(data.absent), strict=True))
    new = [rows[number] for number in split.new.tolist() if number in rows]
    counts = Counter(data.classes[label] for _, label in new).most_common()
    before = f", {len(split.earlier):,} forgotten before" if len(split.earlier) else ""
    lines = [
        f"request: {split.describe()}",
        f"  {_rows(len(split.new), 'new ')} to forget{before}, {len(split.retain):,} to retain",
        f"  classes: {_first([f'{name} ({count:,})' for name, count in counts])}",
        f"  ids: {_first([name for name, _ in new])}",
    ]
    if canaries := len(set(split.new.tolist()) & set(data.canary_numbers.tolist())):
        lines.append(f"  among them {_rows(canaries, 'canary ')}, which every request names")
    if missing := len(split.missing(data)):
        lines.append(f"  deleted from the source: {_rows(missing)} of those to forget")
    if len(split.held_out):
        named, read = len(split.held_out) - len(split.calibrated), len(split.calibrated)
        reason = "named by requests" if len(split.earlier) else "on which no model was trained"
        kinds = [f"{_rows(named)}, {reason}"] * bool(named)
        kinds += [f"{_rows(read)}, which a method read"] * bool(read)
        lines.append(f"  in the test part: {'; '.join(kinds)}; measurements leave them out")
    path = argument_of(data.source) if data.source else ""
    if path and (cached := entries(path)):
        lines.append(
            f"  decoded pictures of {data.source} are kept in {cached[0].path.parent}: those of "
            "deleted files go when the source is next read, or with 'coun data cache --clear'"
        )
    if text := copies(data, split).describe():
        lines.append(f"  {text}; with --with-copies the request covers them too")
    return lines


def _ids_and_labels(rows: Examples | AbsentRows) -> list[tuple[str, int]]:
    return list(zip(rows.ids, rows.labels.tolist(), strict=True))


def _rows(count: int, kind: str = "") -> str:
    return f"{count:,} {kind}row{'s' * (count != 1)}"


def _first(words: list[str]) -> str:
    return ", ".join(words[:SHOWN]) + ", ..." * (len(words) > SHOWN)


def _seed(forget: ForgetOptions) -> int:
    if len(forget.seed) > 1:
        raise CounError(f"--forget-seed is given {len(forget.seed)} times; expected once")
    return forget.seed[0] if forget.seed else 0


def _scores(request: Request, score: Callable[[Request], np.ndarray] | None) -> np.ndarray:
    if score is None:
        raise CounError(
            f"a {request.kind} request looks at trained models; use it with 'coun unlearn RUN'"
        )
    return score(request)
