"""`coun report`: tables and pictures of a bench."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from coun.cli import app

COUN_PAPER = "the CoUn paper"


@app.command(
    "report",
    short_help="Write the results of a bench as tables and a page.",
    help="Write the results of a bench in DIR as Markdown, LaTeX, CSV and an HTML page.",
)
@click.argument("folder", metavar="DIR", type=app.PATH)
@click.option(
    "--paper",
    is_flag=False,
    flag_value=COUN_PAPER,
    metavar="[FILE]",
    help="Compare with printed values: those of the CoUn paper, or those in FILE.",
)
@click.option(
    "--columns",
    metavar="NAMES",
    help="Columns of the LaTeX tables: metrics, gap, p, flops, paper_flops, seconds, runs, such as "
    "UA,MIA,gap.  [default: all metrics, gap, flops]",
)
@click.option("--digits", type=int, help="Decimals of metrics and gap in the LaTeX tables.")
@click.option(
    "--brackets",
    type=click.Choice(["absolute", "signed", "none"]),
    default="absolute",
    help="What stands in brackets in the LaTeX tables: the difference to Retrain, or nothing.  "
    "[default: absolute]",
)
@click.option("--label", default="tab:", help="What LaTeX labels begin with.  [default: tab:]")
@click.option("--figures", is_flag=True, help="Write pictures to DIR/figures, as PDF and SVG.")
@app.json_option
def command(
    folder: Path,
    paper: str | None,
    columns: str | None,
    digits: int | None,
    brackets: Literal["absolute", "signed", "none"],
    label: str,
    figures: bool,
    as_json: bool,
) -> None:
    from coun.bench import report
    from coun.bench.output.latex import Latex

    names = None
    if columns is not None:
        names = tuple(name.strip() for name in columns.split(",") if name.strip())
    latex = Latex(names, digits, brackets, label)
    comparison = True if paper == COUN_PAPER else paper or False
    paths = report(folder, paper=comparison, latex=latex, figures=figures)
    written = [str(path) for path in paths]
    if as_json:
        app.emit({"written": written})
    else:
        for path in written:
            click.echo(path)
