"""`coun evaluate`: what a model still knows."""

from __future__ import annotations

from pathlib import Path

import click

from coun.cli import app
from coun.cli.forget_options import ForgetOptions, forget_options, split_from_options


@click.command(
    "evaluate",
    help="Measure the run in DIR, and how far it is from a Retrain; writes DIR/metrics.json.",
)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--against", type=click.Path(path_type=Path), help="The Retrain's run folder.")
@forget_options
@app.json_option
def command(
    folder: Path,
    against: Path | None,
    forget: ForgetOptions,
    as_json: bool,
) -> None:
    from coun.cli import show
    from coun.runs import Run, evaluate

    run = Run.open(folder)
    split = split_from_options(run.data, forget)
    metrics = evaluate(run, against=against, split=split, progress=True)
    show.result(run, metrics, as_json=as_json)
