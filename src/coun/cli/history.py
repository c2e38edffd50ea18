"""`coun history`: the requests that led to a model."""

from __future__ import annotations

from pathlib import Path

import click
from rich.box import SIMPLE_HEAD
from rich.table import Table

from coun.cli import app
from coun.cli.start import served_version


@app.command(
    "history",
    short_help="Show the requests that led to a model.",
    help="Show the chain that led to the model in DIR: which request, when, by which method, at "
    "what cost. DIR is a run folder, of which only run.json is read, or a registry, of which the "
    "served version is shown.",
)
@click.argument("folder", metavar="DIR", type=app.PATH)
@app.json_option
def command(folder: Path, as_json: bool) -> None:
    from coun.runs import history
    from coun.runs.cost import operations

    steps = history(served_version(folder))
    if as_json:
        app.emit([step.to_json() for step in steps])
        return
    head = ("", "model", "method", "request", "new/all", "date", "time", "operations")
    rows = [
        (
            str(number),
            step.weights_sha256[:8],
            step.method if step.request else step.kind,
            step.request or "",
            f"{step.new_rows:,}/{step.forgotten_rows:,}",
            step.finished[:10],
            f"{step.seconds:.1f} s",
            operations(step.flops),
        )
        for number, step in enumerate(steps, 1)
    ]
    table = Table(*head, box=SIMPLE_HEAD)
    table.padding, table.pad_edge, table.show_edge = (0, 1, 0, 0), False, False
    for place, column in enumerate(table.columns):
        column.overflow = "fold"
        column.justify = "right" if place in (0, 4, 6, 7) else "left"
        column.no_wrap = place not in (2, 3)
    # A long method or request takes several lines, so that no number is cut off.
    widths = [max(map(len, cells)) for cells in zip(head, *rows, strict=True)]
    widths[2] = table.columns[2].max_width = min(14, widths[2])
    others = sum(widths) - widths[3] + 2 * (len(head) - 1)
    table.columns[3].max_width = max(6, app.console.width - others)
    for row in rows:
        table.add_row(*row)
    app.console.print(table)
    app.console.print("new/all: rows of that request, and all rows forgotten by then.")
