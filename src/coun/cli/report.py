"""`coun report`: tables and pictures of a bench."""

from __future__ import annotations

from pathlib import Path

import click

from coun.bench.report import report
from coun.cli import app


@click.command("report")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@app.json_option
def command(folder: Path, as_json: bool) -> None:
    """Make Markdown, LaTeX, CSV and a page from the results in DIR."""
    written = [str(path) for path in report(folder)]
    if as_json:
        app.emit({"written": written})
    else:
        for path in written:
            click.echo(path)
