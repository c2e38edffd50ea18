"""`coun evaluate`: what a model still knows."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from coun.cli import app
from coun.cli.data_options import data_options
from coun.cli.forget_options import ForgetOptions, forget_options, split_from_options
from coun.cli.start import open_together, start_options
from coun.cli.views_options import views_options
from coun.errors import CounError


@app.command(
    "evaluate",
    short_help="Measure a run, and how far it is from a Retrain.",
    help="Measure the run in DIR, before and after unlearning, and how far it is from a Retrain. "
    "Writes DIR/metrics.json, or for another request than the run's own a file of that request. "
    "DIR may be a weights file, with --data and --model.",
)
@click.argument("folder", metavar="DIR", type=app.PATH)
@click.option(
    "--against",
    multiple=True,
    metavar="PATH",
    type=app.PATH,
    help="A Retrain's run folder or weights file; repeated, comparisons are means, and the floor "
    "is shown.",
)
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME",
    help="Also compute this metric: one that is computed on request only, such as kl_to_retrain, "
    "or your own, ./file.py:NAME.",
)
@start_options
@app.trust_option
@data_options
@views_options
@forget_options
@app.json_option
def command(
    folder: Path,
    against: tuple[Path, ...],
    metrics: tuple[str, ...],
    source: str | None,
    model: str | None,
    trust: bool,
    forget: ForgetOptions,
    limits: dict[str, Any],
    as_json: bool,
) -> None:
    from coun.cli import show
    from coun.engine.device import keep_freed_memory
    from coun.metrics.registry import find
    from coun.runs import evaluate, request_scores

    keep_freed_memory()
    further = [find(name, trust=True) for name in metrics]
    run, *retrains = open_together(
        (folder, *against),
        source,
        model,
        limits,
        id_column=forget.id_column,
        allow_missing=bool(forget or against),
        trust=trust,
    )
    score = partial(request_scores, run)
    try:
        split = split_from_options(run.data, forget, earlier=run.split, score=score)
    except CounError as error:
        if run.split is None:
            raise
        try:  # rows that the run forgot before may be measured again
            split = split_from_options(run.data, forget, score=score)
        except CounError:
            raise error from None
    values = evaluate(
        run, against=retrains, split=split, metrics=further, trust=trust, progress=True
    )
    show.result(run, values, further, as_json=as_json)
