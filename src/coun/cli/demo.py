"""`coun demo`: the main jobs on the bundled digits, as a story with a page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich import box
from rich.table import Table

from coun.cli import app

if TYPE_CHECKING:
    from coun.demo import Story
    from coun.metrics import Metric
    from coun.report import Cell


# So that the table fits 80 columns.
ONLY_ON_THE_PAGE = {"row_agreement", "js_to_retrain", "log_odds_correlation"}


@app.command(
    "demo",
    short_help="Run the whole story on handwritten digits; write a page.",
    help="Find, delete, audit and certify wrong labels of handwritten digits, then forget a whole "
    "digit; write a page about it. Repeat the command after an interruption.",
)
@click.option(
    "--out",
    type=app.PATH,
    default=Path("out/demo"),
    help="Folder of the page.  [default: out/demo]",
)
@click.option("--fast", is_flag=True, help="Use few epochs, to see quickly that it works.")
@app.json_option
def command(out: Path, fast: bool, as_json: bool) -> None:
    from coun.demo import demo

    story = demo(out, fast=fast, progress=True, processes=1 if fast else 2)
    if as_json:
        app.emit(story.to_json())
        return
    for line in _lines(story):
        app.console.print(line, highlight=False, markup=False)
    app.console.print()
    app.console.print(_table(story))
    app.console.print(f"Page: {story.page}", highlight=False, markup=False)


def _lines(story: Story) -> list[str]:
    from coun.demo.mistake import TRUE, WRONG

    part = story.mistake
    deleted = len(part.found)
    return [
        f"The mistake: {len(part.rows)} of {part.digits} images of a {TRUE} are labelled {WRONG}; "
        f"the model learned {part.learned} of them by heart.",
        f"Found: {part.suspicious} rows are suspicious, {deleted} of them wrong.",
        f"Deleted: {part.method}, for {100 * part.cost_share:.0f}% of a Retrain's computation; "
        f"{part.still('unlearned', WRONG)} of {deleted} still answered {WRONG}, "
        f"{part.still('unlearned', TRUE)} answered {TRUE}.",
        f"Audited against {part.retrains} Retrains: {part.headline}",
        "Certified: signed, and checked without network"
        + (
            "; the check FAILED."
            if any(result == "FAILED" for _, result, _ in part.verified)
            else "."
        ),
    ]


def _table(story: Story) -> Table:
    from coun.demo.digit import DIGIT
    from coun.metrics import columns

    rows = story.digit.rows
    table = Table(
        title=f"Forgetting the digit {DIGIT}: percent, one seed",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 0, 0, 1),
    )
    table.add_column("", no_wrap=True)
    used = [m for n, m in columns().items() if any(n in row.cells for row in rows)]
    used = [metric for metric in used if metric.name not in ONLY_ON_THE_PAGE]
    for metric in used:
        table.add_column(metric.label, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(row.name, *(_short(m, row.cells.get(m.name)) for m in used))
    return table


def _short(metric: Metric, cell: Cell | None) -> str:
    """Write a cell in few characters, so that the table fits 80 columns."""
    if cell is None:
        return ""
    if metric.unit in ("%", "points"):
        return cell.text(1 if metric.unit == "%" else metric.digits)
    return f"{cell.mean:.{metric.digits}f}"
