"""`coun train`: an Original, or with forget options a Retrain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from coun.cli import app
from coun.cli.forget_options import ForgetOptions, forget_options, split_from_options


@click.command(
    "train", help="Train a model on all rows; with a forget option, a Retrain without them."
)
@click.option(
    "--data", "source", required=True, metavar="SRC", help="digits, hf:PATH, folder:PATH, ..."
)
@click.option("--model", required=True, help="A built-in name, or package.module:factory.")
@click.option(
    "--method",
    default="retrain",
    show_default=True,
    help="retrain is plain training; sisa or arcane train shards, ready for requests.",
)
@click.option("--epochs", type=int, help="Passes over the training rows; default by model.")
@app.seed_option
@app.data_options
@forget_options
@app.set_option
@app.compute_options
@app.out_option
@app.json_option
def command(
    source: str,
    model: str,
    method: str,
    epochs: int | None,
    seed: int,
    limit: int | None,
    test_limit: int | None,
    image_column: str | None,
    label_column: str | None,
    forget: ForgetOptions,
    settings: tuple[str, ...],
    out: Path,
    as_json: bool,
    **compute: Any,
) -> None:
    from coun.cli import show
    from coun.data import load
    from coun.runs import train

    given = settings if epochs is None else (*settings, f"epochs={epochs}")
    values = app.parse_settings(given)
    columns: dict[str, Any] = {"image_column": image_column, "label_column": label_column}
    if source.startswith("hf:"):
        columns["id_column"] = forget.id_column
    data = load(source, limit=limit, test_limit=test_limit, **columns)
    split = split_from_options(data, forget)
    options = app.run_options(**compute)
    common: dict[str, Any] = {"split": split, "seed": seed, "out": out, "options": options}
    run = train(data, model, method=method, **common, **values)
    show.finish(run, as_json=as_json)
