"""Tables as Markdown, LaTeX (booktabs) and CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence

from coun.bench.plan import RETRAIN
from coun.bench.results import COSTS, RATIOS
from coun.bench.tables import WITHIN, Block, Line
from coun.metrics import columns
from coun.report import Grid, Section


def results(block: Block) -> Grid:
    """The metrics and the gap of every line."""
    names = [columns()[m].label for m in block.metrics]
    oracle = ["oracle gap"] * block.has_oracle
    header = ["", "reads forget", *names, "gap", "95%", *oracle, "gap of means", "p", "runs"]
    return Grid(header, [(_mark(line), _cells(block, line)) for line in block.shown])


def _cells(block: Block, line: Line) -> list[str]:
    exact = line.role == RETRAIN
    metrics = [
        f"{line.metrics[m]}" + ("" if exact else f" ({line.differences[m]:+.2f})")
        for m in block.metrics
    ]
    low, high = line.interval.low, line.interval.high
    gap = (
        ["0", "", ""]
        if exact
        else [
            str(line.gap),
            "" if math.isnan(low) else f"{low:.2f}..{high:.2f}",
            number(line.gap_of_means),
        ]
    )
    if block.has_oracle:
        chosen = block.oracle(line)
        gap.insert(
            2,
            f"{chosen.gap.mean:.2f} ({chosen.name.removeprefix(line.base).strip()})"
            if chosen
            else "",
        )
    reads = "yes" if line.reads_forget else "no"
    return [line.name, reads, *metrics, *gap, number(line.p, 3), str(line.runs)]


def costs(block: Block) -> Grid:
    """What every line cost."""
    titles = {
        "flops_ratio": ("FLOPs", 3),
        "paper_flops_ratio": ("paper's", 3),
        "seconds": ("seconds", 1),
        "seconds_ratio": ("s/Retrain's", 3),
    }
    if block.has_prior:
        titles |= {
            "preparation_flops_ratio": ("FLOPs before", 3),
            "preparation_seconds": ("s before", 1),
        }
    header = ["cost", *(title for title, _ in titles.values())]
    return Grid.of(
        header,
        [
            [line.name, *(number(line.costs[key], n) for key, (_, n) in titles.items())]
            for line in block.shown
        ],
    )


def number(value: float, digits: int = 2) -> str:
    """*value*, or nothing where there is none."""
    return "" if math.isnan(value) else f"{value:.{digits}f}"


def grids(block: Block) -> list[Grid]:
    """Results; the module's tests; what it takes to come near, where there is a floor; costs."""
    found = [results(block)]
    if block.module:
        tests = [
            [t.base, number(t.without), number(t.with_), number(t.p, 4), number(t.corrected, 4)]
            for t in block.module
        ]
        found.append(Grid.of(["the module", "gap without", "gap with", "p", "Holm"], tests))
    if not math.isnan(block.floor) and block.methods:
        titles = ["cost over Retrain's to come within", *(f"{times} floors" for times in WITHIN)]
        rows = [[base, *map(_reached, lines)] for base, lines in block.quality if any(lines)]
        if len(rows) < len(block.quality):
            rows.append(["all others" if rows else "all", *["never"] * len(WITHIN)])
        found.append(Grid.of(titles, rows))
    return [*found, costs(block)]


def _mark(line: Line) -> str:
    return "best" if line.best else "tied" if line.tied else ""


def _reached(line: Line | None) -> str:
    """Operations and seconds of a method's cheapest variant that comes near enough."""
    if line is None:
        return "never"
    flops, seconds = line.costs["flops_ratio"], line.costs["seconds_ratio"]
    return f"{flops:.3f} FLOPs, {seconds:.3f} s ({line.name})"


def markdown(section: Section) -> str:
    """A section without its pictures: a heading, a paragraph, tables."""
    tables = "".join(f"{table.markdown}\n" for table in section.tables)
    return f"## {section.title}\n\n{section.lead}\n\n{tables}"


def summary(block: Block) -> str:
    """What one table says, in sentences."""
    methods = block.methods
    if not methods:
        return "No method has a result."
    best = next(line for line in methods if line.best)
    words = [f"Nearest: {best.name}, {best.gap.mean:.2f} points"]
    blind = [line for line in methods if not line.reads_forget]
    if blind and best.reads_forget:
        near = min(blind, key=lambda line: line.gap.mean)
        words.append(f"nearest without forget data: {near.name}, {near.gap.mean:.2f}")
    if not math.isnan(block.floor):
        words.append(f"the floor is {block.floor:.2f}")
        if block.floor:
            words.append(f"the nearest stands at {best.gap.mean / block.floor:.1f} times the floor")
        for times in WITHIN:
            cheap = block.cheapest(times)
            words.append(
                f"within {times} floors: "
                + (
                    f"{cheap.name}, for {cheap.costs['flops_ratio']:.3f} of Retrain's operations "
                    f"and {cheap.costs['seconds_ratio']:.3f} of its seconds"
                    if cheap
                    else "none"
                )
            )
    if block.ranks:
        words.append(
            f"{best.name} comes first in {block.ranks[best.name][0]:.0%} of bootstrap resamples "
            "of the seeds"
        )
    return "; ".join(words) + "."


def latex(tables: Sequence[Block]) -> str:
    """The tables for a paper: needs the package booktabs."""
    parts = ["% needs \\usepackage{booktabs}"]
    for block in tables:
        names = [columns()[m].label for m in block.metrics]
        head = ["Method", *names, "Gap", "FLOPs"]
        rows = []
        for line in block.shown:
            exact = line.role == RETRAIN
            texts = [_tex(line.name) + ("$^{f}$" if line.reads_forget else "")]
            for m in block.metrics:
                cell, change = line.metrics[m], line.differences[m]
                spread = "" if cell.std is None else f"_{{\\pm {cell.std:.2f}}}"
                delta = "" if exact else f"\\,({abs(change):.2f})"
                texts.append(f"${cell.mean:.2f}{spread}{delta}$")
            spread = "" if line.gap.std is None else f" \\pm {line.gap.std:.2f}"
            gap = "0" if exact else f"{line.gap.mean:.2f}{spread}"
            mark = f"\\mathbf{{{gap}}}" if line.best else gap
            texts.append(f"\\underline{{${mark}$}}" if line.tied else f"${mark}$")
            texts.append(f"${line.costs['flops_ratio']:.3f}$")
            rows.append("  " + " & ".join(texts) + r" \\")
        references = sum(line.role != "method" for line in block.shown)
        rows.insert(references, "  \\midrule")
        caption = (
            f"{_tex(block.title)}. Mean and standard deviation over {len(block.seeds)} seed(s); in "
            "brackets the distance to Retrain. Bold: best; underlined: tied with it (paired "
            "$t$-test, Holm-corrected, $p \\geq 0.05$); $f$: reads forget data."
        )
        parts.append(
            "\\begin{table}\n  \\centering\n"
            f"  \\caption{{{caption}}}\n  \\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}\n"
            "  \\toprule\n  "
            + " & ".join(head)
            + " \\\\\n  \\midrule\n"
            + "\n".join(rows)
            + "\n  \\bottomrule\n  \\end{tabular}\n\\end{table}"
        )
    return "\n\n".join(parts) + "\n"


def _tex(text: str) -> str:
    for sign in "\\&%$#_{}":
        text = text.replace(sign, "\\" + sign) if sign != "\\" else text.replace("\\", "/")
    return text


def as_csv(tables: Sequence[Block]) -> str:
    """Every line of every table with full precision."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    metrics = tables[0].metrics if tables else ()
    writer.writerow(
        ["bed", "scenario", "stage", "row", "method", "module", "reads_forget", "runs"]
        + [f"{m}_{part}" for m in metrics for part in ("mean", "std", "difference")]
        + ["gap_mean", "gap_std", "gap_low", "gap_high", "gap_of_means", "p_holm", "best"]
        + [*COSTS, *RATIOS]
    )
    for block in tables:
        for x in block.shown:
            spread = [(x.metrics[m].mean, x.metrics[m].std, x.differences[m]) for m in metrics]
            writer.writerow(
                [block.bed, block.scenario, block.stage, x.name, x.method, x.module]
                + [x.reads_forget, x.runs]
                + ["" if v is None else v for triple in spread for v in triple]
                + [x.gap.mean, "" if x.gap.std is None else x.gap.std]
                + [_blank(v) for v in (x.interval.low, x.interval.high, x.gap_of_means, x.p)]
                + [x.best]
                + [_blank(x.costs[name]) for name in (*COSTS, *RATIOS)]
            )
    return buffer.getvalue()


def _blank(value: float) -> float | str:
    return "" if math.isnan(value) else value
