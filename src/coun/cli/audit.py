"""`coun audit`: is an unlearned model near Retrain, and how sure is that?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.box import SIMPLE_HEAD
from rich.table import Table

from coun.cli import app
from coun.cli.data_options import data_options
from coun.cli.forget_options import ForgetOptions, forget_options, split_from_options, summary
from coun.cli.start import open_together, start_options
from coun.cli.views_options import views_options
from coun.errors import CounError

if TYPE_CHECKING:
    from coun.audit import Audit

MARGIN, ALPHA = 2.0, 0.01  # those of `coun.audit`, repeated here because importing it loads torch
PAIRS_LEGEND = (
    "% of pairs: how often the forgotten row scores higher than the test row; 50% is ideal."
)
PLAN_LEGEND = (
    "Each row says what this audit could conclude with so many Retrains. Memory it would find: if "
    "the model remembers at least so many of the forgotten rows, the audit finds it 4 times in 5; "
    '"none" means that it would probably miss even a model that remembers all of them. Tests of '
    "unknown power, such as relearning, are not counted, but they may find something. The last two "
    'columns are two cases. If no test finds a difference, the verdict is "inconclusive" where too '
    'little could have been found, and "no difference found" or "equivalent" otherwise. If a test '
    "finds a difference, the last column says which verdicts are possible."
)
WORDS = (
    "equivalent",
    "no difference found",
    "inconclusive",
    "under-forgotten",
    "over-forgotten",
    "closer than the original",
    "different",
)

_test_option, _page_option = app.option_on("Tests"), app.option_on("Page")


@app.command(
    "audit",
    short_help="Judge whether a model still knows the forgotten rows.",
    help="Judge the models in MODEL (seeds of one request) against Retrains. Each model is a run "
    "folder, or a weights file, for which --data, --model and a forget option are needed.\n\n"
    "Exit code 3 if the verdict is a word of --fail-on.",
)
@click.argument("unlearned", metavar="MODEL...", nargs=-1, required=True, type=app.PATH)
@click.option(
    "--against",
    multiple=True,
    metavar="PATH",
    type=app.PATH,
    help="A Retrain's run folder or weights file; repeat it for several seeds.",
)
@click.option(
    "--original",
    metavar="PATH",
    type=app.PATH,
    help="Run folder or weights file of the model before unlearning.",
)
@click.option("--out", type=app.PATH, help="Write report.html and audit.json into this folder.")
@start_options
@click.option("--head", help="Name of the last linear layer, where it cannot be found.")
@click.option(
    "--plan",
    is_flag=True,
    help="Only say what more or fewer Retrains would make it possible to find.",
)
@click.option(
    "--fail-on",
    metavar="WORDS",
    help=f"Verdicts, separated by commas, for which the exit code is {app.NEGATIVE}.",
)
@app.trust_option
@_test_option(
    "--margin",
    type=float,
    default=MARGIN,
    help=f"Points of accuracy that count as no difference.  [default: {MARGIN:g}]",
)
@_test_option(
    "--alpha",
    type=float,
    default=ALPHA,
    help=f"Chance of a false accusation, of all tests together.  [default: {ALPHA:g}]",
)
@_test_option(
    "--audits-so-far",
    type=click.IntRange(min=0),
    metavar="N",
    help="Earlier audits of the same model; all of them together then keep to alpha.",
)
@_test_option(
    "--groups",
    type=app.PATH,
    metavar="FILE",
    help="A csv file with id,owner: rows of one owner (a customer) are tested as a whole.",
)
@_test_option(
    "--relearn/--no-relearn",
    default=None,
    help="Test what a few steps of relearning bring back.  [default: only where it is cheap]",
)
@_test_option("--theory", is_flag=True, help="Also measure alignment and steepness of features.")
@_test_option(
    "--shadows",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Also attack with N shadow models (trains them).",
)
@_page_option("--map", "maps", is_flag=True, help="Draw maps of features (t-SNE) on the page.")
@_page_option(
    "--without-rows",
    is_flag=True,
    help="Leave ids and pictures of forgotten rows out of the page and the files.",
)
@data_options
@views_options
@forget_options
@app.json_option
def command(
    unlearned: tuple[Path, ...],
    against: tuple[Path, ...],
    original: Path | None,
    source: str | None,
    model: str | None,
    head: str | None,
    limits: dict[str, Any],
    forget: ForgetOptions,
    trust: bool,
    plan: bool,
    fail_on: str | None,
    maps: bool,
    without_rows: bool,
    out: Path | None,
    as_json: bool,
    **settings: Any,
) -> int:
    failing = _words(fail_on)
    if out is not None:
        _refuse_overwriting(out)
    from coun.audit import audit
    from coun.audit.models import audited_split
    from coun.audit.planning import plan as make_plan
    from coun.engine.device import keep_freed_memory

    keep_freed_memory()
    paths = (*unlearned, *against, *([] if original is None else [original]))
    runs = open_together(
        paths,
        source,
        model,
        limits,
        id_column=forget.id_column,
        head=head,
        allow_missing=True,
        trust=trust,
    )
    if head is not None and not any(run.weights_file for run in runs):
        raise CounError("--head is for weights files; the record of a run names its last layer")
    split = split_from_options(runs[0].data, forget)
    if split is None:
        split = audited_split(runs, runs[0].data, None)
        for line in summary(runs[0].data, split):
            click.echo(line, err=True)
    count = len(unlearned) + len(against)
    result = audit(
        runs[: len(unlearned)],
        runs[len(unlearned) : count],
        original=runs[-1] if original is not None else None,
        split=split,
        rest=not plan,
        cache=out,
        progress=True,
        **settings,
    )
    if plan:
        rows = make_plan(result)
        if as_json:
            app.emit(rows)
        else:
            _show_plan(rows)
        return 0
    page = None
    if out is not None:
        from coun.report import write_audit

        page = write_audit(result, out, maps=maps, show_rows=not without_rows)
    if as_json:
        app.emit(result.to_json(show_rows=not without_rows))
    else:
        show(result)
        if page:
            app.console.print(f"The page: {page}", highlight=False, markup=False)
    return app.NEGATIVE if result.verdict.label in failing else 0


def _refuse_overwriting(out: Path) -> None:
    """Raises: CounError if *out* cannot be written, is in a run folder, or holds an audit."""
    from coun.files import check_writable
    from coun.runs.folder import refuse_inside_run

    if out.is_file():
        raise CounError(f"--out {out} is a file; expected a folder")
    check_writable(out)  # before the work
    refuse_inside_run(out / "report.html")
    for name, other in (("report.html", "audit.json"), ("audit.json", "report.html")):
        if (out / name).exists():
            interrupted = f"; if an audit was interrupted before it wrote {other}, delete {name}"
            raise CounError(
                f"{out / name} exists and is not overwritten; expected a folder without an audit "
                f"for --out{'' if (out / other).exists() else interrupted}"
            )


def _words(text: str | None) -> list[str]:
    """The verdicts of --fail-on. Raises: CounError for a word that no audit uses."""
    words = [word.strip().lower() for word in (text or "").split(",") if word.strip()]
    for word in words:
        if word not in WORDS:
            raise CounError(f"--fail-on: '{word}' is not a verdict; expected {', '.join(WORDS)}")
    return words


def show(result: Audit) -> None:
    """Print the verdict, its tests and its caveats."""
    from coun.audit.wording import effect_text, p_text, short

    verdict = result.verdict
    app.console.print(verdict.headline, style="bold", highlight=False, markup=False)
    app.console.print(verdict.sentence, highlight=False, markup=False)
    table = app.table("test", "effect", "p", "p (Holm)", "found")
    pairs = False
    for e in verdict.evidence:
        part = " (listed rows)" if e.part == "listed" else ""
        effect = effect_text(e)
        if e.unit == "pairs":
            pairs, effect = True, f"{50 + 100 * e.effect:.0f}% of pairs"
        table.add_row(short(e) + part, effect, p_text(e.p), p_text(e.holm), e.meaning)
    if verdict.evidence:
        app.console.print(table)
    if pairs:
        app.console.print(PAIRS_LEGEND, highlight=False, markup=False)
    for caveat in verdict.caveats:
        app.console.print(caveat, highlight=False, markup=False)


def _show_plan(rows: list[dict[str, Any]]) -> None:
    table = Table(
        "Retrains",
        "memory it would find",
        "verdict if nothing is found",
        "if a difference is found",
        box=SIMPLE_HEAD,
    )
    for row in rows:
        least = f"{row['detectable']:,.0f} rows or more" if row["detectable"] else "none"
        table.add_row(str(row["retrains"]), least, row["best"], row["note"])
    app.console.print(table)
    app.console.print(PLAN_LEGEND, highlight=False, markup=False)
