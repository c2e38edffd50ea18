"""`coun train`: an Original, or with forget options a Retrain."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from coun.cli import app
from coun.cli.data_options import data_options, load_data
from coun.cli.federation_options import Settings, federation_options, partition_of
from coun.cli.forget_options import ForgetOptions, forget_options, split_from_options
from coun.cli.prepare import FoldOptions, fold_options
from coun.cli.start import say_views, sized
from coun.cli.views_options import views_options
from coun.errors import CounError


@app.command(
    "train",
    short_help="Train a model; with a forget option, a Retrain.",
    help="Train a model on all rows; with a forget option, a Retrain without them. With "
    "--from-request, the Retrain of a run: its data, model, recipe and all that it must forget.",
)
@click.option(
    "--data",
    "source",
    metavar="SRC",
    help="digits, folder:PATH, hf:PATH, table:FILE, tokens:FILE, ./file.py:NAME:PATH, ...",
)
@click.option(
    "--model",
    help="A built-in name (resnet18, vgg16, vit, resnet8, cnn, mlp, text, ...), timm:NAME, "
    "torchvision:NAME, hf:FOLDER, package.module:factory or ./file.py:factory.",
)
@app.out_option
@click.option(
    "--from-request",
    "request_of",
    metavar="DIR",
    type=app.PATH,
    help="Train the Retrain of this run; --data then says where its data is now.",
)
@click.option(
    "--method",
    default="retrain",
    show_default=True,
    help="retrain is plain training; sisa or arcane train shards, ready for requests.",
)
@click.option("--epochs", type=int, help="Passes over the training rows.  [default: by model]")
@click.option(
    "--canaries",
    type=click.IntRange(min=8),
    metavar="N",
    help="Mark N rows with wrong labels and let a coin put half of them into training, for audits.",
)
@click.option(
    "--keep-every",
    type=click.IntRange(min=1),
    metavar="N",
    help="Keep the weights after every N epochs, for --method rewind.",
)
@app.seed_option
@data_options
@views_options
@forget_options
@fold_options("Preparation for requests")
@federation_options
@app.set_option
@app.trust_option
@app.compute_options
@app.json_option
def command(
    source: str | None,
    model: str | None,
    request_of: Path | None,
    method: str,
    epochs: int | None,
    seed: int,
    limits: dict[str, Any],
    canaries: int | None,
    keep_every: int | None,
    folds: FoldOptions,
    federation: Settings,
    forget: ForgetOptions,
    settings: tuple[str, ...],
    out: Path,
    trust: bool,
    as_json: bool,
    **compute: Any,
) -> None:
    from coun.cli import show
    from coun.methods import make
    from coun.models import check_name, preprocessing
    from coun.runs import Run, train, unlearn
    from coun.runs.folder import check_place
    from coun.runs.preprocessing import for_model

    all_settings = settings if epochs is None else (*settings, f"epochs={epochs}")
    values = app.parse_settings(all_settings)
    make(method, values, trust=True)  # a wrong setting is refused before any data is read
    check_place(out)
    options = replace(app.run_options(**compute), keep_every=keep_every or 0)
    common: dict[str, Any] = {"seed": seed, "out": out, "options": options}
    if request_of is not None:
        if model or forget or method != "retrain" or limits or folds or federation:
            raise CounError(
                "--from-request takes model, request, clients and limits from the run; leave "
                "--model, --method, --folds, --clients, the limits and the forget options out"
            )
        run = Run.open(request_of, data=source, trust=trust)
        if run.split is None:
            raise CounError(f"{request_of} has no forget request; it was trained on all rows")
        show.finish(unlearn(run, None, "retrain", **common, **values), as_json=as_json)
        return
    for option, value in (("--data", source), ("--model", model)):
        if value is None:
            raise click.UsageError(f"Missing option '{option}'.", click.get_current_context())
    assert source is not None
    assert model is not None
    if canaries is not None:
        limits["canaries"] = canaries
    check_name(model)
    limits = sized(source, limits, preprocessing(model))
    data = for_model(load_data(source, limits, forget.id_column), model)
    say_views(data)
    split = split_from_options(data, forget, partition=partition_of(federation))
    if folds:
        if split is not None or method != "retrain" or federation:
            raise CounError(
                "--folds prepares an Original for requests; leave --method, --clients and the "
                "forget options out"
            )
        folds.check(data)
    run = train(data, model, method=method, split=split, federation=federation, **common, **values)
    if folds:
        run = folds.prepare(run, seed, common["options"])
    show.finish(run, as_json=as_json)
