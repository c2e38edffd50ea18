"""What every command shares: options, JSON on standard output."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click
from rich.console import Console

from coun.errors import CounError
from coun.files import expanded, to_json

if TYPE_CHECKING:
    from coun.data import Data
    from coun.runs import Options

F = TypeVar("F", bound=Callable[..., Any])

BAD_INPUT = 2
MOST_WORKERS = max(64, 4 * (os.cpu_count() or 1))
LIMITS = (
    *("limit", "test_limit", "image_column", "label_column"),
    *("test_share", "test_seed", "test_ids", "size", "follow_links", "stream"),
    *("test_split", "test_data"),
    *("drop", "categorical", "missing", "length"),
)

VIEWS = ("views", "mean", "std")  # options of `views_options`, which are in `limits` as well


class ExpandedPath(click.Path):
    """A path in which a leading "~" means the home folder, also where no shell replaces it.

    A path that cannot be written into a record is refused: one of an unknown user, and one whose
    name is not UTF-8.
    """

    def convert(
        self, value: Any, param: click.Parameter | None, context: click.Context | None
    ) -> Any:
        try:
            value = expanded(value)
        except CounError as error:
            self.fail(str(error), param, context)
        return super().convert(str(value), param, context)


PATH = ExpandedPath(path_type=Path)


class Command(click.Command):
    """A command that refuses an option given twice, where the second value would replace the
    first without a word."""

    def parse_args(self, context: click.Context, words: list[str]) -> list[str]:
        _, _, order = self.make_parser(context).parse_args(list(words))
        for option in order:
            single = isinstance(option, click.Option) and not (option.multiple or option.is_flag)
            if single and order.count(option) > 1:
                raise click.UsageError(f"{option.opts[0]} is given twice; expected once.", context)
        return super().parse_args(context, words)


command = functools.partial(click.command, cls=Command)


def options(*decorators: Callable[[F], F]) -> Callable[[F], F]:
    """Join several click options into one decorator; help lists them in the given order."""

    def apply(function: F) -> F:
        for decorate in reversed(decorators):
            function = decorate(function)
        return function

    return apply


compute_options = options(
    click.option("--device", default="auto", help="auto, cpu, cuda, cuda:1 ...  [default: auto]"),
    click.option(
        "--precision",
        type=click.Choice(["auto", "fp32", "bf16"]),
        default="auto",
        help="Precision of convolutions and matrix products.  [default: auto]",
    ),
    click.option("--head", help="Name of the last linear layer, where it cannot be found."),
    click.option(
        "--checkpoint-every",
        type=click.FloatRange(min=0),
        default=60.0,
        help="Seconds between checkpoints.  [default: 60]",
    ),
    click.option("--compile", is_flag=True, help="Compile the training step; pays on long runs."),
    click.option(
        "--workers",
        type=click.IntRange(0, MOST_WORKERS),
        default=0,
        help="Number of processes that read streamed data ahead.  [default: 0]",
    ),
    click.option("--profile", is_flag=True, help="Show where the time is spent."),
)
_limit_options = options(
    click.option("--limit", type=int, help="Keep a fixed stratified subset of N training rows."),
    click.option("--test-limit", type=int, help="Keep a fixed stratified subset of N test rows."),
    click.option("--image-column", help="Name of the image column of an hf: source."),
    click.option("--label-column", help="Name of the label column of a table."),
    click.option(
        "--test-share",
        type=float,
        metavar="SHARE",
        help="Share of the rows to hold out for testing, where a source has no test part.",
    ),
    click.option("--test-seed", type=int, metavar="N", help="Seed of the draw of that share."),
    click.option(
        "--test-ids",
        type=PATH,
        metavar="FILE",
        help="File with the ids of the rows to hold out for testing, one per line.",
    ),
    click.option(
        "--test-split",
        metavar="NAME",
        help="The part, folder or mark of a source that is the test part.",
    ),
    click.option(
        "--test-data",
        type=PATH,
        metavar="PATH",
        help="Folder of class folders elsewhere that is the test part of a folder: source.",
    ),
    click.option(
        "--size",
        type=int,
        metavar="PIXELS",
        help="Cut the middle square of each image and scale it to this side. Images of "
        "different sizes need it.",
    ),
    click.option("--drop", metavar="COLUMNS", help="Columns of a table: source to leave out."),
    click.option(
        "--categorical",
        metavar="COLUMNS",
        help="Columns of numbers of a table: source whose values are categories.",
    ),
    click.option(
        "--missing",
        type=click.Choice(["refuse", "fill"]),
        help="What to do with missing values of a table: source.  [default: refuse]",
    ),
    click.option(
        "--length",
        type=click.IntRange(min=1),
        metavar="TOKENS",
        help="Number of tokens to keep of each text of a tokens: source.",
    ),
    click.option(
        "--follow-links",
        is_flag=True,
        default=None,
        help="Accept links that lead out of a folder: source.",
    ),
    click.option(
        "--stream",
        is_flag=True,
        default=None,
        help="Leave the images on the disk, for data that is larger than memory; --workers reads "
        "ahead.",
    ),
    click.option(
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
        given = {name: value for name, value in limits.items() if value is not None}
        with _cache_folder(values.pop("cache")):
            return function(*args, limits=given, **values)

    return _limit_options(cast(F, command))


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


def load_data(source: str, limits: dict[str, Any], id_column: str | None = None) -> Data:
    """Load *source*, and print on standard error what has to be known of it.

    Args:
        limits: the values of the options of `data_options` that were given.
        id_column: the value of --id-column. It also names the column of a request file, so
            it is left out where the source has no columns.
    """
    from coun.data import load
    from coun.data.preprocessing import with_views
    from coun.data.sources import catalogue

    kind = catalogue().get(source.partition(":")[0])
    if id_column is not None and kind is not None and "id_column" in kind.options:
        limits = {**limits, "id_column": id_column}
    choice = {name: limits[name] for name in VIEWS if name in limits}
    data = load(source, **{name: limits[name] for name in limits if name not in VIEWS})
    for note in data.notes:
        click.echo(note, err=True)
    return with_views(data, **choice) if choice else data


trust_option = click.option(
    "--trust", is_flag=True, help="Run code that records and configs name; by default none is run."
)
seed_option = click.option("--seed", type=int, default=0, help="Seed of the run.  [default: 0]")
set_option = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="A setting of the method; may be repeated.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
out_option = click.option("--out", type=PATH, required=True, help="Run folder to write.")


def parse_settings(pairs: tuple[str, ...]) -> dict[str, Any]:
    """Parse `("lr=0.1", "negate=a,b")` into a dictionary of text; "none" becomes None."""
    settings: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise CounError(f"--set '{pair}' has no value; expected --set key=value")
        if key in settings:
            raise CounError(f"--set {key} is given twice; expected once")
        settings[key] = None if value.lower() == "none" else value
    return settings


def run_options(
    device: str,
    precision: Any,
    head: str | None,
    checkpoint_every: float,
    compile: bool,
    workers: int,
    profile: bool,
) -> Options:
    """Make the library's `Options` from the options of a command."""
    from coun.engine import Compute
    from coun.runs import Options

    Compute.choose(device, compile=compile)  # refused before any data is read
    return Options(
        device,
        precision,
        head,
        checkpoint_every,
        progress=True,
        compile=compile,
        workers=workers,
        profile=profile,
        keep_freed_memory=True,
    )


def emit(document: Any) -> None:
    """Print *document* as JSON on standard output."""
    click.echo(to_json(document))


# User text, such as a path or a label, may hold brackets or :words: and is printed as it is.
console = Console(markup=False, emoji=False)
