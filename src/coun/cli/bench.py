"""`coun bench`: run a benchmark from one config file, and estimate what it takes."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

import click

from coun.cli import app
from coun.errors import counted


class BenchGroup(click.Group):
    """Reads `coun bench CONFIG` as `coun bench run CONFIG`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        words = [word for word in args if word not in ctx.help_option_names]
        if words and words[0] not in self.commands:
            args = ["run", *args]
        return super().parse_args(ctx, args)


command = BenchGroup(
    "bench",
    help="Compare methods over seeds. A bench is one config file: 'coun bench CONFIG --out DIR' "
    "runs it, 'coun bench plan CONFIG' estimates what it takes, and 'coun bench list' names the "
    "configs that come with coun.",
)


tiny_option = click.option(
    "--tiny",
    is_flag=True,
    help="Take the tiny form: a few random images, a small network, two seeds. It needs no data "
    "and about a minute; its numbers have no meaning.",
)
root_option = click.option(
    "--data-root",
    type=app.PATH,
    metavar="DIR",
    help="Folder that holds the data of the config.  [default: COUN_DATA, or data/]",
)
only_option = click.option(
    "--only",
    multiple=True,
    metavar="KEY=VALUES",
    help="Take only a part. KEY is row, workload, scenario or seed: --only seed=0,1 --only FT.",
)

run_options = app.options(
    click.option("--out", type=app.PATH, required=True, help="Folder for the results."),
    click.option(
        "--workers",
        type=click.IntRange(1, app.MOST_WORKERS),
        default=1,
        help="Number of processes; each computes one experiment at a time.  [default: 1]",
    ),
    click.option(
        "--store",
        type=app.PATH,
        help="Folder of the experiments; several benches may share one.  [default: DIR/store]",
    ),
    click.option(
        "--ray",
        metavar="ADDRESS",
        help="Run the workers on the Ray cluster at ADDRESS; 'local' starts one here.",
    ),
    root_option,
    app.trust_option,
)


@command.command(
    "run",
    short_help="Run a bench and write its report.",
    help="Run the bench that CONFIG describes, and write its report. CONFIG is a TOML file, or "
    "the name of a config that comes with coun. A bench that was interrupted continues when the "
    "command is repeated.",
)
@click.argument("config", required=False)
@run_options
@click.option(
    "--resume",
    is_flag=True,
    help="Continue in DIR although CONFIG has changed, or, without CONFIG, with the config in DIR.",
)
@only_option
@tiny_option
@click.option(
    "--minutes",
    type=click.FloatRange(min=0),
    default=math.inf,
    help="Time limit; after it no experiment is started, and what is finished is reported.  "
    "[default: no limit]",
)
@click.option(
    "--no-tune", is_flag=True, help="Use the settings of the config instead of searching them."
)
@app.json_option
@click.pass_context
def run(
    ctx: click.Context,
    config: str | None,
    out: Path,
    workers: int,
    store: Path | None,
    ray: str | None,
    data_root: Path | None,
    trust: bool,
    resume: bool,
    only: tuple[str, ...],
    tiny: bool,
    minutes: float,
    no_tune: bool,
    as_json: bool,
) -> None:
    from coun.bench import bench, report
    from coun.bench.output.reporting import refuse_other_reports
    from coun.engine.process_group import ProcessGroup

    refuse_other_reports(out)
    results = bench(
        config,
        out,
        workers=workers,
        resume=resume,
        only=only,
        store=store,
        tuning=not no_tune,
        ray=ray,
        trust=trust,
        minutes=minutes,
        tiny=tiny,
        data_root=data_root,
    )
    if not ProcessGroup.current().is_main:
        return
    written = report(out)
    if as_json:
        app.emit(results)
    else:
        app.console.print(f"{_models(results)} measured. Report: {written[-1]}")
    for reason in results["failures"].values():
        click.echo(f"coun: failed: {reason}", err=True)
    if results["failures"]:
        ctx.exit(app.BAD_INPUT)


def _models(results: dict[str, Any]) -> str:
    models = counted(len(results["rows"]), "model")
    return f"{models} of {counted(len({row['seed'] for row in results['rows']}), 'seed')}"


@command.command(
    "tune",
    short_help="Search settings, as a config describes.",
    help="Search the settings that CONFIG's [tune] describes, and write DIR/tuned.json.",
)
@click.argument("config")
@run_options
@app.json_option
def tune(
    config: str,
    out: Path,
    workers: int,
    store: Path | None,
    ray: str | None,
    data_root: Path | None,
    trust: bool,
    as_json: bool,
) -> None:
    from coun.bench.main import search
    from coun.engine.process_group import ProcessGroup

    tuned = search(
        config, out, workers=workers, store=store, ray=ray, trust=trust, data_root=data_root
    )
    if not ProcessGroup.current().is_main:
        return
    if as_json:
        app.emit(tuned)
        return
    rows = [
        [workload, name, f"{result['gap']:.2f}", _settings(result["chosen"])]
        for workload, methods in tuned.items()
        for name, result in methods.items()
    ]
    _print_table(["workload", "method", "gap", "settings"], rows)


def _settings(chosen: dict[str, Any]) -> str:
    return ", ".join(f"{key} = {value}" for key, value in chosen.items())


@command.command(
    "plan",
    short_help="Estimate what a bench takes.",
    help="Estimate what CONFIG takes: trainings, epochs, operations, time and disk space, by "
    "workload and by seed. What the run would refuse is refused.",
)
@click.argument("config")
@only_option
@tiny_option
@click.option(
    "--tflops",
    type=click.FloatRange(min=0, min_open=True),
    metavar="N",
    help="Estimate the time on a machine of N x 1e12 operations per second.  "
    "[default: a few steps are timed here]",
)
@root_option
@app.trust_option
@app.json_option
def plan(
    config: str,
    only: tuple[str, ...],
    tiny: bool,
    tflops: float | None,
    data_root: Path | None,
    trust: bool,
    as_json: bool,
) -> None:
    from coun.bench.spec.estimation import estimate

    estimated = estimate(
        config,
        trust=trust,
        only=only,
        tflops=tflops,
        tiny=tiny,
        data_root=data_root,
        say=partial(click.echo, err=True),
    )
    if as_json:
        app.emit(estimated)
        return
    units = _units(estimated["total"])
    operations, time, space = (unit for unit, _ in units.values())
    time += " here" if tflops is None else f" at {tflops:g} TFLOPS"
    amounts = ("experiments", "epochs", operations, time, space)
    rows = []
    for workload in estimated["workloads"]:
        name = workload["workload"]
        parts = [part for part in estimated["parts"] if part["workload"] == name]
        rows += [[name, part["kind"], *_amounts(part, units)] for part in parts]
        rows.append([name, "together", *_amounts(workload, units)])
    rows.append(["all", "", *_amounts(estimated["total"], units)])
    _print_table(["workload", "kind"], rows, amounts)
    seeds = [[f"seed {seed['seed']}", *_amounts(seed, units)] for seed in estimated["seeds"]]
    _print_table(["without tuning"], seeds, amounts)
    for note in estimated["notes"]:
        app.console.print(note, highlight=False)


def _units(total: dict[str, Any]) -> dict[str, tuple[str, float]]:
    """Choose the units of a whole table: the largest of which there is one or more.

    >>> _units({"flops": 2e13, "seconds": 7_200, "bytes": 2**20})
    {'flops': ('TFLOP', 1000000000000.0), 'seconds': ('hours', 3600), 'bytes': ('MiB', 1048576)}
    """
    units: dict[str, tuple[tuple[str, float], ...]] = {
        "flops": (("PFLOP", 1e15), ("TFLOP", 1e12), ("GFLOP", 1e9)),
        "seconds": (("hours", 3600), ("minutes", 60), ("seconds", 1)),
        "bytes": (("GiB", 2**30), ("MiB", 2**20)),
    }
    return {
        name: next((unit for unit in known if total[name] >= unit[1]), known[-1])
        for name, known in units.items()
    }


def _amounts(part: dict[str, Any], units: dict[str, tuple[str, float]]) -> list[str]:
    amounts = [part[name] / size for name, (_, size) in units.items()]
    return [
        f"{part['experiments']:,}",
        f"{part['epochs']:,}",
        *(f"{x:,.0f}" if x >= 10 else f"{x:.2g}" for x in amounts),
    ]


def _print_table(
    header: list[str], rows: list[list[str]], right_aligned: tuple[str, ...] = ()
) -> None:
    """Print rows in sections by their first cell, which is printed once for each section."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(*header, box=SIMPLE_HEAD)
    for name in right_aligned:
        table.add_column(name, justify="right")
    table.padding = (0, 1, 0, 0)
    for column in table.columns[1 : 3 if right_aligned else 1]:
        column.no_wrap = True  # on a narrow screen the name of a workload is folded instead
    previous = None
    for first, *others in rows:
        if previous is not None and first != previous and others and not first.startswith("seed"):
            table.add_section()
        table.add_row("" if first == previous else first, *others)
        previous = first
    app.console.print(table)


@command.command(
    "merge",
    short_help="Put the results of several runs of a bench together.",
    help="Put the results of several runs of one bench together, such as seeds that different "
    "machines measured, and write a report of all of them. Each DIR is the --out folder of a run.",
)
@click.argument("folders", metavar="DIR...", type=app.PATH, nargs=-1, required=True)
@click.option("--out", type=app.PATH, required=True, help="Folder for the merged results.")
@app.json_option
def merge(folders: tuple[Path, ...], out: Path, as_json: bool) -> None:
    from coun.bench import merge as merge_results
    from coun.bench import report
    from coun.bench.output.reporting import refuse_other_reports

    refuse_other_reports(out)
    results = merge_results(folders, out)
    written = report(out)
    if as_json:
        app.emit(results)
    else:
        app.console.print(f"{_models(results)} measured. Report: {written[-1]}")


@command.command("list", help="List the configs that come with coun, with their titles.")
@app.json_option
def list_configs(as_json: bool) -> None:
    from coun.bench import load, shipped

    titles = {name.removesuffix(".toml"): load(name).title for name in shipped()}
    if as_json:
        app.emit(titles)
        return
    width = max(map(len, titles)) + 2
    for name, title in titles.items():
        click.echo(f"{name:{width}}{title}")
