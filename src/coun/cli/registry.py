"""`coun registry`: make a registry of deletion requests, look at it, check it, roll it back."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.box import SIMPLE_HEAD
from rich.table import Table

from coun.cli import app
from coun.cli.data_options import data_options
from coun.cli.registry_folder import open_registry, read_registry, registry_argument
from coun.cli.start import open_start
from coun.cli.views_options import views_options
from coun.errors import CounError, TamperingFound, counted

if TYPE_CHECKING:
    from coun.registry import RegistrySummary

command = click.Group(
    "registry",
    help="Keep deletion requests, versions of a model and the record of both.",
    short_help="Keep deletion requests and versions of a model.",
)


@command.command(
    "init",
    short_help="Make a registry from a run or a weights file.",
    cls=app.Command,
    help="Make the registry DIR, which must not exist or be empty. Its version 1 is a run that "
    "coun trained (--from), or a weights file (--weights, --model and --data).",
)
@registry_argument
@click.option("--from", "start", metavar="RUN", type=app.PATH, help="Run folder to begin with.")
@click.option("--weights", metavar="FILE", type=app.PATH, help="Weights file to begin with.")
@click.option(
    "--model",
    help="Only with --weights: a built-in name, timm:NAME, torchvision:NAME, hf:FOLDER, "
    "package.module:factory or ./file.py:factory.",
)
@click.option("--data", "source", metavar="SRC", help="Where the data is; --weights needs it.")
@click.option("--id-column", metavar="NAME", help="Column of the ids, in a source with columns.")
@click.option("--head", help="Name of the last linear layer, where it cannot be found.")
@click.option(
    "--recipe",
    multiple=True,
    metavar="KEY=VALUE",
    help="Only with --weights: how they were trained, such as epochs=30, for Retrains. May be "
    "repeated.  [default: the recipe of the model]",
)
@click.option(
    "--key",
    metavar="FILE",
    type=app.PATH,
    help="Private key that signs certificates.  [default: a new one, in DIR/keys]",
)
@app.trust_option
@data_options
@views_options
@app.json_option
def init(
    folder: Path,
    start: Path | None,
    weights: Path | None,
    model: str | None,
    source: str | None,
    id_column: str | None,
    head: str | None,
    recipe: tuple[str, ...],
    key: Path | None,
    trust: bool,
    limits: dict[str, Any],
    as_json: bool,
) -> None:
    settings = app.parse_settings(recipe)
    if (start is None) == (weights is None):
        raise CounError("expected --from RUN, or --weights FILE with --model and --data")
    if start is not None and (model or limits or settings or id_column or head):
        raise CounError(
            f"model, recipe, limits, columns and views come from the record of {start}; leave "
            "them out"
        )
    from coun.registry import Registry
    from coun.runs import Run

    if start is not None:
        run = Run.open(start, data=source, trust=trust)
    else:
        assert weights is not None
        if (weights / "run.json").exists():
            raise CounError(f"{weights} is a run folder; give it with --from")
        run = open_start(weights, source, model, limits, id_column=id_column, head=head)
    registry = Registry.init(folder, run, key=key, recipe_settings=settings)
    summary = registry.summary()
    if start is None:
        correct, rows = summary.versions[0].metrics["test_accuracy"], len(run.data.test)
        click.echo(
            f"the weights classify {correct:.1f}% of {rows:,} test rows correctly; if you expect "
            "more, delete the registry, and repeat with --size, --mean and --std of their training",
            err=True,
        )
    if as_json:
        app.emit(summary.model_dump(mode="json"))
        return
    words = {"original": "the Original", "given": "the given weights", "retrain": "a Retrain"}
    made = words.get(run.record.kind, f"made by {run.record.method.name}")
    click.echo(f"{folder} serves version 1, {made}")
    click.echo(f"certificates are signed with {registry.signing_key}; keep a copy of it")


@command.command(
    "show",
    cls=app.Command,
    help="Print versions, requests, due dates and drift.\n\nExit code 4 if the ledger was changed.",
)
@registry_argument
@click.option(
    "--html",
    "page",
    metavar="FILE",
    type=app.PATH,
    help="Also write it as a page; an earlier page of this registry is replaced.",
)
@app.json_option
def show(folder: Path, page: Path | None, as_json: bool) -> int:
    summary = read_registry(folder).summary()
    if page is not None:
        from coun.registry.page import write_page

        write_page(summary, page)
        click.echo(f"the page is {page}", err=True)
    if as_json:
        app.emit(summary.model_dump(mode="json"))
    else:
        _print(summary)
    return TamperingFound.exit_code if summary.ledger.problems else 0


@command.command(
    "check",
    short_help="Compare a registry with its ledger.",
    cls=app.Command,
    help="Compare everything in DIR with the ledger, and name what was edited, removed, swapped "
    "or is missing.\n\nExit code 4 if something was.",
)
@registry_argument
@app.json_option
def check(folder: Path, as_json: bool) -> int:
    registry = open_registry(folder)
    problems = registry.check()
    if as_json:
        entries, head = registry.ledger.head()
        app.emit({"problems": problems, "entries": entries, "head": head})
    elif problems:
        for problem in problems:
            click.echo(problem)
    else:
        entries, head = registry.ledger.head()
        click.echo(f"nothing was changed: {entries:,} entries, the last one is {head[:12]}")
    return TamperingFound.exit_code if problems else 0


@command.command(
    "rollback",
    short_help="Serve an earlier version again.",
    cls=app.Command,
    help="Serve an earlier version again; by default the one before. Requests that it does not "
    "fulfil are open again.",
)
@registry_argument
@click.argument("version", metavar="[VERSION]", required=False, type=click.IntRange(min=1))
@app.json_option
def rollback(folder: Path, version: int | None, as_json: bool) -> None:
    registry = open_registry(folder)
    served = registry.rollback(version)
    if as_json:
        app.emit(registry.summary().model_dump(mode="json"))
    else:
        click.echo(f"version {served} is served")


@command.command(
    "discard",
    short_help="Delete the files of an old version for good.",
    cls=app.Command,
    help="Delete the files of a version that is not served, for good: an earlier version still "
    "holds what it learned from rows that were forgotten later.",
)
@registry_argument
@click.argument("version", metavar="VERSION", type=click.IntRange(min=1))
@app.json_option
def discard(folder: Path, version: int, as_json: bool) -> None:
    registry = open_registry(folder)
    registry.discard(version)
    if as_json:
        app.emit(registry.summary().model_dump(mode="json"))
    else:
        click.echo(f"version {version} is deleted")


def _print(summary: RegistrySummary) -> None:
    from coun.cli.request import table_of

    click.echo(f"version {summary.served} is served since {_minute(summary.served_since)} UTC")
    versions = Table(
        "no.", "from", "method", "requests", "rows", "TA", "drift", "cost", "made",
        box=SIMPLE_HEAD, collapse_padding=True, pad_edge=False,
    )  # fmt: skip
    versions.columns[2].overflow = "fold"
    names = [version.method for version in summary.versions]
    versions.columns[2].min_width = min(14, max(map(len, names)))  # most names stay in one line
    for version in summary.versions:
        share = None
        if version.flops and version.retrain_flops:
            share = version.flops / version.retrain_flops
        accuracy = version.metrics.get("test_accuracy")
        forgotten = version.forgotten_rows
        versions.add_row(
            f"{version.version}{'*' * version.served}{' deleted' * version.discarded}",
            str(version.start or ""),
            "original" if version.method == "retrain" and not forgotten else version.method,
            ", ".join(map(str, version.requests)),
            f"{forgotten:,}",
            "" if accuracy is None else f"{accuracy:.1f}%",
            "" if version.drift is None else f"{version.drift:.1f}%",
            "" if share is None else f"{share:.2f}",
            version.created[:10],
        )
    app.console.print(versions)
    app.console.print(
        "*: served. from: the version that it was made from; a Retrain starts afresh. rows: all "
        "rows forgotten by then. TA: test accuracy. drift: percent of test rows that are "
        "classified otherwise than by the last Retrain or first version. cost: share of a "
        "Retrain's operations."
    )
    if note := summary.about_test_rows():
        app.console.print(note)
    if summary.requests:
        app.console.print(table_of(summary.requests))
    if summary.overdue:
        click.echo(f"overdue: request {', '.join(map(str, summary.overdue))}")
    if summary.unfinished:
        numbers = " ".join(map(str, summary.unfinished))
        click.echo(
            f"begun: request {numbers}; if no process does it now, go on with: coun fulfil "
            f"{shlex.quote(str(summary.folder))} {numbers}"
        )
    if summary.ledger.clock_went_back:
        click.echo(
            f"the clock went back {counted(summary.ledger.clock_went_back, 'time')}; the order "
            "of events is that of the ledger"
        )
    for problem in summary.ledger.problems:
        click.echo(f"tampering: {problem}")


def _minute(time: str) -> str:
    return time[:16].replace("T", " ")
