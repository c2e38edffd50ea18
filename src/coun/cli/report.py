"""`coun report`: tables and pictures of a bench."""

from __future__ import annotations

from pathlib import Path

import click

from coun.cli import app

SHIPPED = "the CoUn paper's"


@click.command("report", help="Make Markdown, LaTeX, CSV and a page from the results in DIR.")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--paper",
    is_flag=False,
    flag_value=SHIPPED,
    metavar="[FILE]",
    help="Set printed values beside ours: the CoUn paper's, or those in FILE.",
)
@app.json_option
def command(folder: Path, paper: str | None, as_json: bool) -> None:
    from coun.bench.report import report

    against = True if paper == SHIPPED else paper or False
    written = [str(path) for path in report(folder, paper=against)]
    if as_json:
        app.emit({"written": written})
    else:
        for path in written:
            click.echo(path)
