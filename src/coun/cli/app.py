"""What every command shares: options, JSON on standard output."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich.console import Console

from coun.errors import CounError
from coun.files import expanded, to_json

if TYPE_CHECKING:
    from rich.table import Table

    from coun.runs import Options

F = TypeVar("F", bound=Callable[..., Any])

BAD_INPUT = 2  # exit codes; `TamperingFound` has one of its own
NEGATIVE = 3  # the command did its work, and the answer is no
FIRST_TOPIC = "Options"  # the heading of options that most calls need
# That of `coun.runs.options`, repeated here because importing it loads torch.
MOST_WORKERS = max(64, 4 * (os.cpu_count() or 1))


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


class TopicOption(click.Option):
    """An option that `--help` lists under the heading *topic*."""

    def __init__(self, *names: Any, topic: str, **settings: Any) -> None:
        super().__init__(*names, **settings)
        self.topic = topic


def option_on(topic: str) -> Callable[..., Callable[[F], F]]:
    """Return a `click.option` for the options of one topic."""
    return functools.partial(click.option, cls=TopicOption, topic=topic)


class Command(click.Command):
    """A command that refuses an option given twice, where the second value would replace the
    first without a word. Its help lists the options by topic."""

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options without a topic, which most calls need, and then those of topics."""
        topics: dict[str, list[tuple[str, str]]] = {FIRST_TOPIC: []}
        for option in self.get_params(context):
            record = option.get_help_record(context) if isinstance(option, click.Option) else None
            if record is not None:
                topics.setdefault(getattr(option, "topic", FIRST_TOPIC), []).append(record)
        for topic, records in topics.items():
            with formatter.section(topic):
                formatter.write_dl(records)

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


_compute_option = option_on("Computation")
compute_options = options(
    _compute_option(
        "--device", default="auto", help="auto, cpu, cuda, cuda:1 ...  [default: auto]"
    ),
    _compute_option(
        "--precision",
        type=click.Choice(["auto", "fp32", "bf16"]),
        default="auto",
        help="Precision of convolutions and matrix products.  [default: auto]",
    ),
    _compute_option("--head", help="Name of the last linear layer, where it cannot be found."),
    _compute_option(
        "--checkpoint-every",
        type=click.FloatRange(min=0),
        default=60.0,
        help="Seconds between checkpoints.  [default: 60]",
    ),
    _compute_option(
        "--memory-format",
        type=click.Choice(["channels_last", "contiguous"]),
        default="channels_last",
        help="Layout of images; contiguous is slower and more exact.  [default: channels_last]",
    ),
    _compute_option(
        "--compile", is_flag=True, help="Compile the training step; pays on long runs."
    ),
    _compute_option(
        "--workers",
        type=click.IntRange(0, MOST_WORKERS),
        default=0,
        help="Number of processes that read streamed data ahead.  [default: 0]",
    ),
    _compute_option("--profile", is_flag=True, help="Show where the time is spent."),
)
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
        if several := re.findall(r",\s*(\w+=[^,]*)", value):
            first = pair[: pair.index(",")]
            raise CounError(
                f"--set '{pair}' holds {len(several) + 1} settings; repeat --set for each: "
                + " ".join(f"--set {one}" for one in (first, *several))
            )
        settings[key] = None if value.lower() == "none" else value
    return settings


def run_options(
    device: str,
    precision: Any,
    head: str | None,
    checkpoint_every: float,
    memory_format: Any,
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
        memory_format=memory_format,
    )


def table(*headings: str) -> Table:
    """Begin a table whose columns are two blanks apart, so that a narrow terminal cuts no word."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    return Table(*headings, box=SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False)


def emit(document: Any) -> None:
    """Print *document* as JSON on standard output."""
    click.echo(to_json(document))


# User text, such as a path or a label, may hold brackets or :words: and is printed as it is.
console = Console(markup=False, emoji=False)
