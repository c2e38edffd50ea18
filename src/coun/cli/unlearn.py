"""`coun unlearn`: make a trained model forget."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click

from coun.cli import app
from coun.cli.forget_options import ForgetOptions, forget_options, split_from_options
from coun.errors import CounError


@click.command(
    "unlearn",
    help="Unlearn from FROM, a run folder, or a weights file with --data and --model. What is "
    "not given is taken from the run folder's record.",
)
@click.argument("start", metavar="FROM", type=click.Path(path_type=Path))
@click.option("--method", required=True, help="See 'coun methods'.")
@app.seed_option
@forget_options
@app.set_option
@app.contrast_options
@click.option("--data", "source", metavar="SRC", help="Only where FROM is a weights file.")
@click.option("--model", help="Only where FROM is a weights file.")
@app.data_options
@app.compute_options
@app.out_option
@app.json_option
def command(
    start: Path,
    method: str,
    seed: int,
    forget: ForgetOptions,
    settings: tuple[str, ...],
    contrast: str | None,
    contrast_weight: float,
    contrast_temperature: float | None,
    contrast_views: str | None,
    contrast_set: tuple[str, ...],
    source: str | None,
    model: str | None,
    limit: int | None,
    test_limit: int | None,
    image_column: str | None,
    label_column: str | None,
    out: Path,
    as_json: bool,
    **compute: Any,
) -> None:
    from coun.cli import show
    from coun.data import load
    from coun.models import build, load_weights
    from coun.runs import Run, unlearn

    values = app.parse_settings(settings)
    columns: dict[str, Any] = {"image_column": image_column, "label_column": label_column}
    options = app.run_options(**compute)
    module = app.make_contrast(
        contrast, contrast_weight, contrast_temperature, contrast_views, contrast_set
    )
    common: dict[str, Any] = {"seed": seed, "out": out, "options": options, **values}
    if module is not None:
        common["contrast"] = module
    if not start.exists():
        raise CounError(f"{start} does not exist; expected a run folder or a file of weights")
    if start.is_file():
        if source is None or model is None:
            raise CounError(f"{start} is a weights file; say --data and --model as well")
        data = load(source, limit=limit, test_limit=test_limit, **columns)
        make = partial(build, model, classes=len(data.classes), shape=data.shape)
        net = make()
        load_weights(net, start)
        split = split_from_options(data, forget)
        run = unlearn(net, split, method, data=data, build=make, name=model, **common)
    else:
        if source or model or limit or test_limit or any(columns.values()):
            raise CounError(
                f"--data, --model and the limits come from the record of {start}; leave them out"
            )
        parent = Run.open(start)
        split = split_from_options(parent.data, forget, earlier=parent.split)
        run = unlearn(parent, split, method, **common)
    show.finish(run, as_json=as_json)
