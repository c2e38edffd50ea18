"""`coun bench`: one file in, one table with error bars out; and what it would take."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from coun.cli import app


class Default(click.Group):
    """`coun bench CONFIG` is `coun bench run CONFIG`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        words = [word for word in args if word not in ctx.help_option_names]
        if words and words[0] not in self.commands:
            args = ["run", *args]
        return super().parse_args(ctx, args)


command = Default(
    "bench",
    help="Make a table: coun bench CONFIG --out DIR, coun bench plan CONFIG, coun bench list.",
)


run_options = app.options(
    click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write."),
    click.option(
        "--workers", type=click.IntRange(min=1), default=1, help="Processes at once.  [default: 1]"
    ),
    click.option(
        "--store",
        type=click.Path(path_type=Path),
        help="Where experiments are kept, if benches are to share them.  [default: DIR/store]",
    ),
    click.option("--ray", metavar="ADDRESS", help="Workers on a Ray cluster; local: a head here."),
)


@command.command(
    "run", help="Compute what CONFIG (a TOML file, or a shipped name) describes, and report it."
)
@click.argument("config", required=False)
@run_options
@click.option("--resume", is_flag=True, help="Go on in DIR, with its own CONFIG or a changed one.")
@click.option(
    "--only",
    multiple=True,
    metavar="KEY=VALUES",
    help="A part: row, bed, scenario or seed, e.g. --only seed=0,1 --only FT.",
)
@click.option(
    "--minutes",
    type=click.FloatRange(min=0),
    default=math.inf,
    help="Begin nothing new after them, report what is finished.  [default: no limit]",
)
@click.option("--no-tune", is_flag=True, help="Take the config's settings, leave [tune] out.")
@app.json_option
@click.pass_context
def run(
    ctx: click.Context,
    config: str | None,
    out: Path,
    workers: int,
    store: Path | None,
    ray: str | None,
    resume: bool,
    only: tuple[str, ...],
    minutes: float,
    no_tune: bool,
    as_json: bool,
) -> None:
    from coun.bench.main import bench
    from coun.bench.report import report
    from coun.engine.process_group import ProcessGroup

    found = bench(
        config,
        out,
        workers=workers,
        resume=resume,
        only=only,
        store=store,
        tuning=not no_tune,
        ray=ray,
        minutes=minutes,
    )
    if not ProcessGroup.current().is_main:
        return
    written = report(out)
    if as_json:
        app.emit(found)
    else:
        app.console.print(f"{len(found['rows'])} models measured. Report: {written[-1]}")
    for why in found["failures"].values():
        click.echo(f"coun: failed: {why}", err=True)
    if found["failures"]:
        ctx.exit(app.BAD_INPUT)


@command.command("tune", help="Only search the settings of [tune] in CONFIG; write DIR/tuned.json.")
@click.argument("config")
@run_options
@app.json_option
def tune(
    config: str, out: Path, workers: int, store: Path | None, ray: str | None, as_json: bool
) -> None:
    from coun.bench.main import search
    from coun.engine.process_group import ProcessGroup

    found = search(config, out, workers=workers, store=store, ray=ray)
    if not ProcessGroup.current().is_main:
        return
    if as_json:
        app.emit(found)
        return
    table = Table("bed", "method", "gap", "settings")
    for bed, methods in found.items():
        for name, one in methods.items():
            words = ", ".join(f"{key} = {value}" for key, value in one["chosen"].items())
            table.add_row(bed, name, f"{one['gap']:.2f}", words)
    app.console.print(table)


@command.command(
    "plan", help="Show what CONFIG would run: trainings, epochs, operations, time and disk."
)
@click.argument("config")
@app.json_option
def plan(config: str, as_json: bool) -> None:
    from coun.bench.estimate import estimate

    found = estimate(config)
    if as_json:
        app.emit(found)
        return
    table = Table("bed", "kind")
    for name in ("experiments", "epochs", "PFLOP", "hours here", "GiB"):
        table.add_column(name, justify="right")
    before = ""
    for row in [*found["parts"], found["total"]]:
        if before and row["bed"] != before:
            table.add_section()
        table.add_row("" if row["bed"] == before else row["bed"], *_texts(row))
        before = row["bed"]
    app.console.print(table)
    for note in found["notes"]:
        app.console.print(note, highlight=False)


def _texts(row: dict[str, Any]) -> list[str]:
    amounts = (row["flops"] / 1e15, row["seconds"] / 3600, row["bytes"] / 2**30)
    return [
        row["kind"],
        f"{row['experiments']:,}",
        f"{row['epochs']:,}",
        *(f"{x:,.0f}" if x >= 10 else f"{x:.2g}" for x in amounts),
    ]


@command.command("list", help="List the configs that come with coun.")
def list_() -> None:
    from coun.bench import shipped

    for name in shipped():
        click.echo(name)
