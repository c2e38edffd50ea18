"""`coun export`: write the model of a run for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from coun.cli import app

FORMATS = ("safetensors", "torchscript", "pt2", "onnx", "hf")


@app.command(
    "export",
    help="Write the model of the run in RUN to the new folder DIR, with the numbers of its "
    "preprocessing and the names of its classes beside it. The data are not needed.",
)
@click.argument("run", metavar="RUN", type=app.PATH)
@click.argument("folder", metavar="DIR", type=app.PATH)
@click.option(
    "--to",
    type=click.Choice(FORMATS),
    default="safetensors",
    show_default=True,
    help="onnx needs the packages onnx and onnxscript; hf is for models of transformers.",
)
@app.trust_option
@app.json_option
def command(run: Path, folder: Path, to: Any, trust: bool, as_json: bool) -> None:
    from coun.files import read_json
    from coun.runs.serving import PREPROCESSING, export

    export(run, folder, to, trust=trust)
    if as_json:
        app.emit(read_json(folder / PREPROCESSING))
        return
    files = ", ".join(sorted(path.name for path in folder.iterdir()))
    click.echo(f"{folder}: {files}")
