"""`coun audit`: is an unlearned model near Retrain, and how sure is that?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table

from coun.cli import app

if TYPE_CHECKING:
    from coun.audit import Audit

MARGIN = 2.0  # that of `coun.audit.auditing`, repeated here because importing it loads torch


@click.command("audit", help="Judge the runs in DIR (seeds of one request) against Retrains.")
@click.argument(
    "unlearned", metavar="DIR...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option(
    "--against",
    multiple=True,
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="A Retrain's run folder; repeat it for several seeds.",
)
@click.option("--original", type=click.Path(path_type=Path), help="The model before unlearning.")
@click.option(
    "--margin",
    type=float,
    default=MARGIN,
    help=f"Points of accuracy that count as no difference.  [default: {MARGIN:g}]",
)
@click.option("--relearn", is_flag=True, help="Also time how fast each model relearns (trains).")
@click.option("--theory", is_flag=True, help="Also measure alignment and steepness of features.")
@click.option(
    "--shadows",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Also attack with N shadow models (trains them).",
)
@click.option("--out", type=click.Path(path_type=Path), help="Write report.html here.")
@app.json_option
def command(
    unlearned: tuple[Path, ...],
    against: tuple[Path, ...],
    original: Path | None,
    margin: float,
    relearn: bool,
    theory: bool,
    shadows: int,
    out: Path | None,
    as_json: bool,
) -> None:
    from coun.audit import audit
    from coun.report import write_audit

    found = audit(
        unlearned,
        against,
        original=original,
        margin=margin,
        relearn=relearn,
        theory=theory,
        shadows=shadows,
        cache=out,
        progress=True,
    )
    page = write_audit(found, out) if out is not None else None
    if as_json:
        app.emit(found.to_json())
        return
    show(found)
    if page:
        app.console.print(f"The page: {page}", highlight=False)


def show(found: Audit) -> None:
    """The verdict, its tests and its caveats."""
    verdict = found.verdict
    app.console.print(f"[bold]{verdict.headline}[/]\n{verdict.sentence}", highlight=False)
    table = Table("test", "effect", "p", "p (Holm)", "found")
    for e in verdict.evidence:
        found_as = e.meaning
        name = e.about.partition(":")[0]
        table.add_row(name, f"{e.effect:+.3f}", f"{e.p:.2g}", f"{e.holm:.2g}", found_as)
    app.console.print(table)
    for caveat in verdict.caveats:
        app.console.print(caveat, highlight=False)
