"""`coun demo`: the main job on the bundled digits."""

from __future__ import annotations

from pathlib import Path

import click
from rich import box
from rich.table import Table

from coun.cli import app
from coun.demo import demo
from coun.report.table import COLUMNS, Cell


@click.command("demo")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("out/demo"),
    help="Folder of the report.  [default: out/demo]",
)
@click.option("--fast", is_flag=True, help="One seed, few epochs: to see it work.")
@app.json_option
def command(out: Path, fast: bool, as_json: bool) -> None:
    """Train, forget, compare with Retrain on handwritten digits; write a report."""
    outcomes = demo(out, fast=fast, progress=True)
    if as_json:
        app.emit({o.scenario.key: o.results for o in outcomes})
        return
    for outcome in outcomes:
        seeds = len(next(iter(outcome.results.values())))
        title = f"{outcome.scenario.title}: percent, mean±std of {seeds} seed(s)"
        table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1))
        table.add_column("", no_wrap=True)
        for label in COLUMNS.values():
            table.add_column(label, justify="right", no_wrap=True)
        for row in outcome.rows:
            table.add_row(row.name, *(_short(c, row.cells.get(c)) for c in COLUMNS))
        app.console.print(table)
    app.console.print(f"Report: {out / 'report.html'}", highlight=False)


def _short(column: str, cell: Cell | None) -> str:
    """A cell in as few characters as say it, so that the table fits 80 columns."""
    if cell is None:
        return ""
    digits = 2 if column in ("average_gap", "cost_ratio") else 1
    spread = "" if cell.std is None or column == "cost_ratio" else f"±{cell.std:.{digits}f}"
    return f"{cell.mean:.{digits}f}{spread}"
