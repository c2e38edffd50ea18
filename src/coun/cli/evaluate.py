"""`coun evaluate`: what a model still knows."""

from __future__ import annotations

from pathlib import Path

import click

from coun.cli import app


@click.command(
    "evaluate",
    help="Measure the run in DIR, and how far it is from a Retrain; writes DIR/metrics.json.",
)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--against", type=click.Path(path_type=Path), help="The Retrain's run folder.")
@app.forget_options
@app.json_option
def command(
    folder: Path,
    against: Path | None,
    forget_fraction: float | None,
    forget_seed: int,
    forget_class: str | None,
    forget_index: Path | None,
    as_json: bool,
) -> None:
    from coun.cli import show
    from coun.runs import Run, evaluate

    run = Run.open(folder)
    split = app.make_split(run.data, forget_fraction, forget_seed, forget_class, forget_index)
    metrics = evaluate(run, against=against, split=split, progress=True)
    show.result(run, metrics, as_json=as_json)
