"""The options that say which source is read, and which part of it."""

from __future__ import annotations

import contextlib
import functools
import json
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from coun.cli import app
from coun.errors import CounError

if TYPE_CHECKING:
    from coun.data import Data

F = TypeVar("F", bound=Callable[..., Any])

LIMITS = (
    *("limit", "test_limit", "image_column", "label_column"),
    *("test_share", "test_seed", "test_ids", "size", "follow_links", "stream"),
    *("test_split", "test_data"),
    *("drop", "categorical", "missing", "length"),
)
VIEWS = ("views", "mean", "std")  # options of `views_options`, which are in `limits` as well

_option = app.option_on("Data")
_limit_options = app.options(
    _option("--limit", type=int, help="Keep a fixed stratified subset of N training rows."),
    _option("--test-limit", type=int, help="Keep a fixed stratified subset of N test rows."),
    _option("--image-column", help="Name of the image column of an hf: source."),
    _option("--label-column", help="Name of the label column of a table."),
    _option(
        "--test-share",
        type=float,
        metavar="SHARE",
        help="Share of the rows to hold out for testing, where a source has no test part.",
    ),
    _option("--test-seed", type=int, metavar="N", help="Seed of the draw of that share."),
    _option(
        "--test-ids",
        type=app.PATH,
        metavar="FILE",
        help="File with the ids of the rows to hold out for testing, one per line.",
    ),
    _option(
        "--test-split",
        metavar="NAME",
        help="The part, folder or mark of a source that is the test part.",
    ),
    _option(
        "--test-data",
        type=app.PATH,
        metavar="PATH",
        help="Folder of class folders elsewhere that is the test part of a folder: source.",
    ),
    _option(
        "--size",
        type=int,
        metavar="PIXELS",
        help="Cut the middle square of each image and scale it to this side. Images of "
        "different sizes need it.",
    ),
    _option("--drop", metavar="COLUMNS", help="Columns of a table: source to leave out."),
    _option(
        "--categorical",
        metavar="COLUMNS",
        help="Columns of numbers of a table: source whose values are categories.",
    ),
    _option(
        "--missing",
        type=click.Choice(["refuse", "fill"]),
        help="What to do with missing values of a table: source.  [default: refuse]",
    ),
    _option(
        "--length",
        type=click.IntRange(min=1),
        metavar="TOKENS",
        help="Number of tokens to keep of each text of a tokens: source.",
    ),
    _option(
        "--follow-links",
        is_flag=True,
        default=None,
        help="Accept links that lead out of a folder: source.",
    ),
    _option(
        "--stream",
        is_flag=True,
        default=None,
        help="Leave the images on the disk, for data that is larger than memory; --workers reads "
        "ahead.",
    ),
    _option(
        "--data-option",
        "data_option",
        multiple=True,
        metavar="KEY=VALUE",
        help="A further option of the source, such as one that you wrote; may be repeated.",
    ),
    _option(
        "--cache",
        metavar="DIR|none",
        help="Where decoded images are kept for the next command.  [default: COUN_CACHE, or the "
        "user's cache folder]",
    ),
)


def data_options(function: F) -> F:
    """Add the options that say which part of a source is read; the command gets `limits`."""

    @functools.wraps(function)
    def command(*args: Any, **values: Any) -> Any:
        limits = {name: values.pop(name) for name in LIMITS}
        chosen_limits = {name: value for name, value in limits.items() if value is not None}
        chosen_limits |= _further_options(values.pop("data_option"))
        with _cache_folder(values.pop("cache")):
            return function(*args, limits=chosen_limits, **values)

    return _limit_options(cast(F, command))


def _further_options(pairs: tuple[str, ...]) -> dict[str, Any]:
    """The values of --data-option: a number, true, false or text in quotes as JSON has it, or text.

    >>> _further_options(("grain=0.5", "colours=all"))
    {'grain': 0.5, 'colours': 'all'}
    """
    further: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not (key.isidentifier() and equals):
            raise CounError(f"--data-option is '{pair}'; expected KEY=VALUE")
        if key in (*LIMITS, *VIEWS, "id_column"):
            flag = f"--{key.replace('_', '-')}"
            raise CounError(f"--data-option is '{pair}'; this option is called {flag}")
        if key in further:
            raise CounError(f"--data-option {key} is given twice; expected once")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        further[key] = text if isinstance(value, list | dict | None) else value
    return further


@contextlib.contextmanager
def _cache_folder(folder: str | None) -> Iterator[None]:
    """Let COUN_CACHE name *folder* while a command runs, unless it is None."""
    before = os.environ.get("COUN_CACHE")
    if folder is not None:
        os.environ["COUN_CACHE"] = folder
    try:
        yield
    finally:
        if folder is not None:
            os.environ.pop("COUN_CACHE")
            if before is not None:
                os.environ["COUN_CACHE"] = before


def with_id_column(source: str, limits: dict[str, Any], id_column: str | None) -> dict[str, Any]:
    """Add the value of --id-column to *limits*.

    The option also names the column of a request file, so it is left out where the source has
    no columns.
    """
    from coun.data.sources import takes

    if id_column is not None and takes(source, "id_column"):
        return {**limits, "id_column": id_column}
    return limits


def load_data(source: str, limits: dict[str, Any], id_column: str | None = None) -> Data:
    """Load *source*, and print on standard error what has to be known of it.

    Args:
        limits: the values of the options of `data_options` that were given.
        id_column: the value of --id-column.
    """
    from coun.data import load
    from coun.data.preprocessing import with_views

    limits = with_id_column(source, limits, id_column)
    choice = {name: limits[name] for name in VIEWS if name in limits}
    data = load(source, **{name: limits[name] for name in limits if name not in VIEWS})
    for note in data.notes:
        click.echo(note, err=True)
    return with_views(data, **choice) if choice else data
