"""Tables as Markdown and CSV, and what they show in a few sentences."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Sequence
from dataclasses import replace

from coun.bench.execute.records import COSTS, RATIOS
from coun.bench.output.result_table import WITHIN, ResultRow, ResultTable
from coun.bench.spec.planned import RETRAIN
from coun.report import Grid, Section

NOTE = (
    "Before ± is the mean over the seeds, after it their standard deviation; in brackets is the "
    f"mean signed difference to the {RETRAIN} of the same seed. The 95% interval says where the "
    "mean gap over many more seeds may lie; no gap is below 0 or above 100, so it is cut there."
)


def results_grid(table: ResultTable) -> Grid:
    """The metrics and the gap of every row."""
    names = [metric.label for metric in table.metrics.values()]
    oracle = ["oracle gap"] * table.has_oracle
    gap = ["gap", "95% interval", *oracle, "gap of means"]
    header = ["", "reads forget", *names, *gap, "p", "runs"]
    rows = [(table.mark(row), _cells(table, row)) for row in table.shown]
    return Grid(header, rows, note=NOTE).without_empty("p")


def _cells(table: ResultTable, row: ResultRow) -> list[str]:
    is_retrain = row.role == RETRAIN
    metrics = []
    for name, metric in table.metrics.items():
        cell = row.metrics.get(name)
        shown = name in row.differences and not is_retrain
        difference = f" ({row.differences[name]:+.2f})" if shown else ""
        metrics.append(cell.text(metric.digits) + difference if cell else "")
    low, high = row.interval.low, row.interval.high
    interval = "" if math.isnan(low) else f"{low:.2f}\u00a0to\u00a0{high:.2f}"
    gap = ["0", "", ""] if is_retrain else [str(row.gap), interval, number(row.gap_of_means)]
    if table.has_oracle:
        oracle = table.oracle(row)
        name = oracle.name.removeprefix(row.base).strip() if oracle else ""
        gap.insert(2, f"{oracle.gap.mean:.2f} ({name})" if oracle else "")
    reads = "yes" if row.reads_forget else "no"
    return [row.name, reads, *metrics, *gap, probability(row.p), str(row.runs)]


def costs_grid(table: ResultTable) -> Grid:
    """What every row cost."""
    columns = {
        "flops_ratio": ("operations / Retrain's", 3),
        "paper_flops_ratio": ("the same, as the paper counts", 3),
        "seconds": ("seconds", 1),
        "seconds_ratio": ("seconds / Retrain's", 3),
    }
    if table.has_preparation:
        columns |= {
            "preparation_flops_ratio": ("operations before / Retrain's", 3),
            "preparation_seconds": ("seconds before", 1),
        }
    rows = [
        [row.name, *(number(row.costs[key], digits) for key, (_, digits) in columns.items())]
        for row in table.shown
    ]
    header = ["cost", *(title for title, _ in columns.values())]
    if any(row.costs["bytes_sent"] > 0 for row in table.shown):
        header.append("MiB sent")
        for texts, row in zip(rows, table.shown, strict=True):
            texts.append(number(row.costs["bytes_sent"] / 2**20, 1))
    return Grid.of(header, rows)


def number(value: float, digits: int = 2) -> str:
    """Format *value*; NaN becomes an empty text."""
    return "" if math.isnan(value) else f"{value:.{digits}f}"


def probability(p: float) -> str:
    """Format a p-value; NaN becomes an empty text.

    >>> probability(0.0412), probability(0.00003)
    ('0.041', '<0.001')
    """
    return "<0.001" if p < 0.001 else number(p, 3)


def grids(table: ResultTable) -> list[Grid]:
    """The parts of a table: results, tests of the module, cost to come near Retrain, costs."""
    parts = [results_grid(table)]
    if table.module:
        tests = []
        for t in table.module:
            values = (number(t.without), number(t.with_module), number(t.improvement, 1))
            tests.append([t.base, *values, probability(t.p), probability(t.corrected)])
        header = ["the module", "gap without", "gap with", "improvement, %", "p", "p (Holm)"]
        parts.append(Grid.of(header, tests))
    if not math.isnan(table.floor) and table.methods:
        what = "operations (seconds), divided by Retrain's, to come within"
        header = [what, *(f"{x} floors" for x in WITHIN)]
        quality = table.cost_to_quality
        reached = [
            [base, *(_cheapest(row, base) for row in rows)] for base, rows in quality if any(rows)
        ]
        if len(reached) < len(quality):
            reached.append(["all others" if reached else "all", *["never"] * len(WITHIN)])
        parts.append(Grid.of(header, reached))
    return [*parts, costs_grid(table)]


def _cheapest(row: ResultRow | None, base: str) -> str:
    """Operations and seconds of the cheapest variant of *base* that comes near enough."""
    if row is None:
        return "never"
    flops, seconds = row.costs["flops_ratio"], row.costs["seconds_ratio"]
    return f"{flops:.3f} ({seconds:.3f})" + (f": {row.name}" if row.name != base else "")


def markdown(section: Section) -> str:
    """A section without its pictures: a heading, a paragraph, tables."""
    tables = ""
    for table in section.tables:
        plain = replace(
            table,
            header=[*map(plain_markdown, table.header)],
            rows=[(mark, [*map(plain_markdown, texts)]) for mark, texts in table.rows],
        )
        tables += f"{plain.markdown}\n"
        tables += f"{plain_markdown(table.note)}\n\n" if table.note else ""
    title, lead = plain_markdown(section.title), section.lead.replace("<", "&lt;")
    return f"## {title}\n\n{lead}\n\n{tables}"


def summary(table: ResultTable) -> str:
    """Say in a few sentences what a table shows."""
    methods = table.methods
    if not methods:
        return "None of the methods has a result."
    best = next(row for row in methods if row.smallest)
    floor = ""
    if table.floor > 0:
        floors = best.gap.mean / table.floor
        floor = f", which is {floors:.1f} floors (two Retrains are {table.floor:.2f} apart)"
    sentences = [
        f"{best.name} has the smallest mean gap to Retrain, {best.gap.mean:.2f} points{floor}."
    ]
    if len(methods) > 1:
        sentences.append(_told_apart(table))
    without_forget = [row for row in methods if not row.reads_forget]
    if without_forget and best.reads_forget:
        smallest = min(without_forget, key=lambda row: row.gap.mean)
        sentences.append(
            f"Of the methods that do not read forget rows, {smallest.name} has the smallest, "
            f"{smallest.gap.mean:.2f}."
        )
    if not math.isnan(table.floor):
        # The same method for several distances is named once.
        by_words: dict[str, list[str]] = {}
        for floors in WITHIN:
            row = table.cheapest(floors)
            words = "none"
            if row is not None:
                words = (
                    f"{row.name}, for {row.costs['flops_ratio']:.3f} of Retrain's operations and "
                    f"{row.costs['seconds_ratio']:.3f} of its seconds"
                )
            by_words.setdefault(words, []).append(str(floors))
        cheapest = "; ".join(
            f"within {_listed(distances)} floors: {words}" for words, distances in by_words.items()
        )
        sentences.append(f"Cheapest method {cheapest}.")
    if table.ranks and table.can_tell:
        sentences.append(
            f"{best.name} is first in {table.ranks[best.name][0]:.0%} of the bootstrap resamples "
            "of the seeds."
        )
    return " ".join(sentences)


def _listed(words: Sequence[str]) -> str:
    """The words as a list in a sentence.

    >>> _listed(["1.0", "1.5", "3.0"])
    '1.0, 1.5 and 3.0'
    """
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _told_apart(table: ResultTable) -> str:
    """Which methods may be the nearest, in a sentence."""
    if not table.can_tell:
        if all(math.isnan(row.p) for row in table.methods):
            return "There are too few seeds to test which method is nearest."
        return "No method could be shown not to be the nearest."
    others = [row.name for row in table.methods if table.mark(row) == "tied"]
    worse = sum(row.is_worse for row in table.methods)
    return f"{worse} of the {len(table.methods)} methods are shown not to be the nearest; " + (
        f"besides the first, {', '.join(others)} may be." if others else "only the first may be."
    )


def plain_cell(text: str) -> str:
    """*text* as a cell of a CSV file that no spreadsheet takes for a formula.

    >>> plain_cell("=1+1"), plain_cell("FT")
    ("'=1+1", 'FT')
    """
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def plain_markdown(text: str) -> str:
    """*text* in Markdown, in one line, without tags, links and cell borders of its own.

    >>> plain_markdown("<b>[x](y)|")
    '&lt;b>\\\\[x\\\\](y)\\\\|'
    """
    text = " ".join(text.replace("&", "&amp;").replace("<", "&lt;").split())
    return re.sub(r"([\[\]|`])", r"\\\1", text)


def as_csv(tables: Sequence[ResultTable]) -> str:
    """Every row of every table with full precision."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    metrics = tables[0].metrics if tables else ()
    writer.writerow(
        ["workload", "scenario", "stage", "row", "method", "module", "reads_forget", "runs"]
        + [f"{m}_{part}" for m in metrics for part in ("mean", "std", "difference")]
        + ["gap_mean", "gap_std", "gap_low", "gap_high", "gap_of_means", "p", "smallest"]
        + [*COSTS, *RATIOS]
    )
    for table in tables:
        for x in table.shown:
            cells = [(x.metrics.get(m), x.differences.get(m)) for m in metrics]
            values = [(c.mean, c.std, d) if c else (None, None, None) for c, d in cells]
            gap = (x.gap.mean, x.gap.std, x.interval.low, x.interval.high, x.gap_of_means, x.p)
            writer.writerow(
                [plain_cell(table.workload), plain_cell(table.scenario), table.stage]
                + [plain_cell(x.name), plain_cell(x.method), x.module]
                + [x.reads_forget, x.runs]
                + [_blank(value) for triple in values for value in triple]
                + [*map(_blank, gap), x.smallest]
                + [_blank(x.costs[name]) for name in (*COSTS, *RATIOS)]
            )
    return buffer.getvalue()


def _blank(value: float | None) -> float | str:
    return "" if value is None or math.isnan(value) else value
