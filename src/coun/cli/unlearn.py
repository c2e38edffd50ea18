"""`coun unlearn`: make a trained model forget."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from coun.cli import app
from coun.cli.contrast_options import contrast_options
from coun.cli.data_options import data_options
from coun.cli.federation_options import partition_of
from coun.cli.forget_options import ForgetOptions, forget_options, split_from_options
from coun.cli.start import open_start, start_options
from coun.cli.views_options import views_options


@app.command(
    "unlearn",
    short_help="Make a trained model forget rows.",
    help="Unlearn from FROM, a run folder, or a weights file with --data and --model. What is "
    "not given is taken from the run folder's record. Rows that FROM or a run before it has "
    "forgotten stay forgotten.",
)
@click.argument("start", metavar="FROM", type=app.PATH)
@click.option(
    "--method",
    required=True,
    help="Name of the method, see 'coun methods'; auto chooses one by rule.",
)
@app.out_option
@click.option("--epochs", type=int, help="Passes over the rows.  [default: by method and model]")
@click.option(
    "--retain-share",
    type=float,
    metavar="SHARE",
    help="Let the method read only this share of the retain rows, drawn by the seed.  "
    "[default: all]",
)
@app.seed_option
@forget_options
@app.set_option
@contrast_options
@start_options
@app.trust_option
@data_options
@views_options
@app.compute_options
@app.json_option
def command(
    start: Path,
    method: str,
    epochs: int | None,
    retain_share: float | None,
    seed: int,
    forget: ForgetOptions,
    settings: tuple[str, ...],
    contrast: dict[str, Any] | None,
    source: str | None,
    model: str | None,
    trust: bool,
    limits: dict[str, Any],
    out: Path,
    as_json: bool,
    **compute: Any,
) -> None:
    from coun.cli import show
    from coun.methods import make
    from coun.runs import request_scores, unlearn
    from coun.runs.folder import check_place

    all_settings = settings if epochs is None else (*settings, f"epochs={epochs}")
    values = app.parse_settings(all_settings)
    # What cannot work is refused before any data is read, and the request before it is printed.
    chosen = None if method == "auto" else make(method, values, trust=True)
    check_place(out)
    options = app.run_options(**compute)
    common: dict[str, Any] = {"seed": seed, "out": out, "options": options, **values}
    if retain_share is not None:
        common["retain_access"] = retain_share
    if contrast is not None:
        common["contrast"] = contrast
    run = open_start(
        start,
        source,
        model,
        limits,
        id_column=forget.id_column,
        head=options.head,
        allow_missing=True,
        trust=trust,
    )
    if chosen is not None:
        chosen.check(run.classifier, run.data, None)
    split = split_from_options(
        run.data,
        forget,
        earlier=run.split,
        score=lambda r: request_scores(run, r, options=options),
        partition=partition_of(run.record.original.get("federation")),
    )
    show.finish(unlearn(run, split, method, **common), as_json=as_json)
