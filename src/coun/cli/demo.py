"""`coun demo`: the main job on the bundled digits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich import box
from rich.table import Table

from coun.cli import app
from coun.errors import counted

if TYPE_CHECKING:
    from coun.metrics import Metric
    from coun.report import Cell


# So that the table fits 80 columns.
ONLY_ON_THE_PAGE = {"row_agreement", "js_to_retrain", "log_odds_correlation"}


@app.command(
    "demo", help="Train, forget and compare with Retrain on handwritten digits; write a report."
)
@click.option(
    "--out",
    type=app.PATH,
    default=Path("out/demo"),
    help="Folder of the report.  [default: out/demo]",
)
@click.option(
    "--fast", is_flag=True, help="Use one seed and few epochs, to see quickly that it works."
)
@app.json_option
def command(out: Path, fast: bool, as_json: bool) -> None:
    from coun.demo import demo
    from coun.metrics import columns

    outcomes = demo(out, fast=fast, progress=True)
    if as_json:
        app.emit({o.scenario.key: o.results for o in outcomes})
        return
    for outcome in outcomes:
        seeds = len(next(iter(outcome.results.values())))
        title = f"{outcome.scenario.title}: percent, mean±std of {counted(seeds, 'seed')}"
        table = Table(
            title=title,
            title_justify="left",
            box=box.SIMPLE_HEAD,
            padding=(0, 0, 0, 1),
        )
        table.add_column("", no_wrap=True)
        used = [m for n, m in columns().items() if any(n in r.cells for r in outcome.rows)]
        used = [metric for metric in used if metric.name not in ONLY_ON_THE_PAGE]
        for metric in used:
            table.add_column(metric.label, justify="right", no_wrap=True)
        for row in outcome.rows:
            table.add_row(row.name, *(_short(m, row.cells.get(m.name)) for m in used))
        app.console.print(table)
    app.console.print(f"Report: {out / 'report.html'}", highlight=False)


def _short(metric: Metric, cell: Cell | None) -> str:
    """Write a cell in few characters, so that the table fits 80 columns."""
    if cell is None:
        return ""
    if metric.unit in ("%", "points"):
        return cell.text(1 if metric.unit == "%" else metric.digits)
    return f"{cell.mean:.{metric.digits}f}"
