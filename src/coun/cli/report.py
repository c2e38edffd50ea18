"""`coun report`: tables and pictures of a bench."""

from __future__ import annotations

from pathlib import Path

import click

from coun.cli import app

COUN_PAPER = "the CoUn paper"


@app.command(
    "report", help="Write the results of a bench in DIR as Markdown, LaTeX, CSV and an HTML page."
)
@click.argument("folder", metavar="DIR", type=app.PATH)
@click.option(
    "--paper",
    is_flag=False,
    flag_value=COUN_PAPER,
    metavar="[FILE]",
    help="Compare with printed values: those of the CoUn paper, or those in FILE.",
)
@app.json_option
def command(folder: Path, paper: str | None, as_json: bool) -> None:
    from coun.bench import report

    comparison = True if paper == COUN_PAPER else paper or False
    written = [str(path) for path in report(folder, paper=comparison)]
    if as_json:
        app.emit({"written": written})
    else:
        for path in written:
            click.echo(path)
