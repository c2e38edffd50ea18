"""`coun export`: write the model of a run for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from coun.cli import app
from coun.errors import CounError
from coun.files import write_text

ELSEWHERE = ("mlflow", "card")
FORMATS = ("safetensors", "torchscript", "pt2", "onnx", "hf")


@app.command(
    "export",
    short_help="Write the model of a run in a format for serving.",
    help="Write the model of the run in RUN to the new folder DIR, with the numbers of its "
    "preprocessing and the names of its classes beside it. The data are not needed.\n\n"
    "With --to mlflow, DIR is the name of a registered model; its alias moves to the new version "
    "only if the audit cleared the model. With --to card, DIR is the Markdown file to write.",
)
@click.argument("run", metavar="RUN", type=app.PATH)
@click.argument("folder", metavar="DIR", type=app.PATH)
@click.option(
    "--to",
    type=click.Choice([*FORMATS, *ELSEWHERE]),
    default="safetensors",
    show_default=True,
    help="onnx needs the packages onnx and onnxscript; hf is for models of transformers; mlflow "
    "needs mlflow, and card needs huggingface_hub.",
)
@click.option(
    "--audit",
    type=app.PATH,
    metavar="AUDIT",
    help="With mlflow and card: the folder that coun audit --out wrote about this model.",
)
@click.option("--alias", metavar="NAME", help="With mlflow: the alias.  [default: served]")
@click.option(
    "--tracking-uri", metavar="URI", help="With mlflow: where it is, such as sqlite:///mlflow.db."
)
@app.trust_option
@app.json_option
def command(
    run: Path,
    folder: Path,
    to: Any,
    audit: Path | None,
    alias: str | None,
    tracking_uri: str | None,
    trust: bool,
    as_json: bool,
) -> None:
    if to != "mlflow" and (alias or tracking_uri):
        raise CounError("--alias and --tracking-uri need --to mlflow")
    if to in FORMATS and audit is not None:
        raise CounError("--audit needs --to mlflow or --to card")
    if to == "mlflow":
        if audit is None:
            raise CounError("--to mlflow needs --audit, which decides whether the alias moves")
        from coun.integrations import to_mlflow

        made = to_mlflow(
            run,
            str(folder),
            audit,
            alias=alias or "served",
            tracking_uri=tracking_uri,
            trust=trust,
        )
        if as_json:
            app.emit(made._asdict())
            return
        moved = "points to it" if made.served else "stays where it is: the audit did not clear it"
        click.echo(f"{made.name}, version {made.version}; the alias {alias or 'served'} {moved}")
        return
    if to == "card":
        if folder.exists():
            raise CounError(f"{folder} exists; choose another file, or delete it first")
        from coun.integrations import model_card

        text = str(model_card(run, audit, trust=trust))
        write_text(folder, text)
        if as_json:
            app.emit({"card": str(folder)})
        else:
            click.echo(str(folder))
        return
    from coun.files import read_json
    from coun.runs.exporting import PREPROCESSING, export

    export(run, folder, to, trust=trust)
    if as_json:
        app.emit(read_json(folder / PREPROCESSING))
        return
    files = ", ".join(sorted(path.name for path in folder.iterdir()))
    click.echo(f"{folder}: {files}")
