"""What every command shares: options, errors as one line, JSON on standard output."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich.console import Console

from coun.errors import CounError
from coun.files import to_json

if TYPE_CHECKING:
    from coun.runs import Options

F = TypeVar("F", bound=Callable[..., Any])

BAD_INPUT = 2


def options(*decorators: Callable[[F], F]) -> Callable[[F], F]:
    """Several click options as one decorator, listed in the order given."""

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
        help="Of convolutions and matrix products.  [default: auto]",
    ),
    click.option("--head", help="Name of the last linear layer, where it cannot be found."),
    click.option(
        "--checkpoint-every",
        type=click.FloatRange(min=0),
        default=60.0,
        help="Seconds between checkpoints.  [default: 60]",
    ),
    click.option("--compile", is_flag=True, help="Compile the training step: pays on long runs."),
    click.option(
        "--workers",
        type=click.IntRange(min=0),
        default=0,
        help="Processes that read streamed data ahead.  [default: 0]",
    ),
    click.option("--profile", is_flag=True, help="Show where the time goes."),
)
data_options = options(
    click.option("--limit", type=int, help="Keep a stratified, seeded subset of N training rows."),
    click.option("--test-limit", type=int, help="The same for the test rows."),
    click.option("--image-column", help="Image column of an hf: source."),
    click.option("--label-column", help="Label column of an hf: source."),
)
contrast_options = options(
    click.option("--contrast", metavar="LOSS", help="Add a contrastive loss, e.g. info_nce."),
    click.option("--contrast-weight", type=float, default=1.0, help="Its weight.  [default: 1]"),
    click.option("--contrast-temperature", type=float, help="Its temperature."),
    click.option("--contrast-views", metavar="LETTERS", help="Of its second view, e.g. CHJN."),
    click.option(
        "--contrast-set", multiple=True, metavar="KEY=VALUE", help="Another setting of the loss."
    ),
)
seed_option = click.option("--seed", type=int, default=0, help="Seed of the run.  [default: 0]")
set_option = click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="A setting; may be repeated."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
out_option = click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Run folder to write."
)


def parse_settings(pairs: tuple[str, ...]) -> dict[str, Any]:
    """`("lr=0.1", "negate=a,b")` as a dictionary of text; "none" leaves a setting open."""
    found: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise CounError(f"--set '{pair}' has no value; expected --set key=value")
        if key in found:
            raise CounError(f"--set {key} is given twice; expected once")
        found[key] = None if value.lower() == "none" else value
    return found


def make_contrast(
    loss: str | None,
    weight: float,
    temperature: float | None,
    views: str | None,
    pairs: tuple[str, ...],
) -> dict[str, Any] | None:
    """The arguments of `coun.contrast` that the options ask for; None if they ask for none."""
    settings = parse_settings(pairs)
    if temperature is not None:
        settings["temperature"] = temperature
    if loss is None:
        if settings or views is not None:
            raise CounError("contrast options without --contrast; say which loss, e.g. info_nce")
        return None
    return {"loss": loss, "weight": weight, "views": views, **settings}


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
    from coun.runs import Options

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


console = Console()


def run(group: click.Group) -> int:
    """Run the command line; the exit code. Bad input is one line and exit code 2."""
    try:
        code = group.main(standalone_mode=False)
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.UsageError as error:
        usage = error.ctx.command_path if error.ctx else "coun"
        _complain(f"{error.format_message()} See '{usage} --help'.")
    except (CounError, click.ClickException) as error:
        _complain(error.format_message() if isinstance(error, click.ClickException) else str(error))
    except (KeyboardInterrupt, click.Abort):
        _complain("interrupted; repeat the command to go on from the last checkpoint")
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 141
    except OSError as error:
        _complain(f"{error.filename or 'the system'}: {error.strerror or error}")
    return BAD_INPUT


def _complain(message: str) -> None:
    click.echo("coun: " + " ".join(message.split()), err=True)
