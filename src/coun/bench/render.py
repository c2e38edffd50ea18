"""Tables as Markdown, LaTeX (booktabs) and CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence

from coun.bench.plan import RETRAIN
from coun.bench.tables import SHORT, WITHIN, Block, Line

BEST, TIE = "best", "tied with the best (p >= 0.05)"


def header(block: Block) -> list[str]:
    """Titles of the columns of `cells`."""
    names = [SHORT[m] for m in block.metrics]
    costs = ["FLOPs", "paper's", "seconds", "s/Retrain's"]
    oracle = ["oracle gap"] * block.has_oracle
    return ["", "reads forget", *names, "gap", "95%", *oracle, "gap of means", "p", *costs, "runs"]


def cells(block: Block, line: Line) -> list[str]:
    """One line as text, without marks."""
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
        gap.insert(2, f"{chosen.gap.mean:.2f} ({chosen.name})" if chosen else "")
    costs = [
        number(line.costs["flops_ratio"], 3),
        number(line.costs["paper_flops_ratio"], 3),
        number(line.costs["seconds"], 1),
        number(line.costs["seconds_ratio"], 3),
    ]
    reads = "yes" if line.reads_forget else "no"
    return [line.name, reads, *metrics, *gap, number(line.p, 3), *costs, str(line.runs)]


def number(value: float, digits: int = 2) -> str:
    """*value*, or nothing where there is none."""
    return "" if math.isnan(value) else f"{value:.{digits}f}"


QUALITY = ["cost over Retrain's to come within", *(f"{times} floors" for times in WITHIN)]


def quality(block: Block) -> list[list[str]]:
    """Rows under `QUALITY`: operations and seconds of each method's cheapest variant."""
    return [
        [
            base,
            *(
                f"{x.costs['flops_ratio']:.3f} FLOPs, {x.costs['seconds_ratio']:.3f} s ({x.name})"
                if x
                else "never"
                for x in found
            ),
        ]
        for base, found in block.quality
    ]


def markdown(tables: Sequence[Block]) -> str:
    """Every table, with the module's tests and the cost of coming near."""
    parts = []
    for block in tables:
        names = header(block)
        gap = names.index("gap")
        lines = [
            "| " + " | ".join(names) + " |",
            "|---|---|" + "---:|" * (len(names) - 2),
        ]
        for line in block.shown:
            texts = cells(block, line)
            if line.best:
                texts[0], texts[gap] = f"**{texts[0]}**", f"**{texts[gap]}**"
            elif line.tied:
                texts[gap] += " †"
            lines.append("| " + " | ".join(texts) + " |")
        lines += ["", f"Bold: {BEST}. †: {TIE}. {summary(block)}"]
        if block.module:
            lines += [
                "",
                "| the module | gap without | gap with | p | Holm |",
                "|---|" + "---:|" * 4,
            ]
            lines += [
                f"| {t.base} | {t.without:.2f} | {t.with_:.2f} | {number(t.p, 4)} | "
                f"{number(t.corrected, 4)} |"
                for t in block.module
            ]
        if not math.isnan(block.floor) and block.methods:
            lines += ["", "| " + " | ".join(QUALITY) + " |", "|---" * len(QUALITY) + "|"]
            lines += ["| " + " | ".join(texts) + " |" for texts in quality(block)]
        parts.append(f"## {block.title}\n\n" + "\n".join(lines))
    return "\n\n".join(parts) + "\n"


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
        names = [SHORT[m] for m in block.metrics]
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
        + ["flops", "flops_ratio", "paper_flops", "paper_flops_ratio", "seconds", "seconds_ratio"]
        + ["peak_memory_mib"]
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
                + [
                    _blank(x.costs[name + part])
                    for name in ("flops", "paper_flops", "seconds")
                    for part in ("", "_ratio")
                ]
                + [x.costs["peak_memory_mib"]]
            )
    return buffer.getvalue()


def _blank(value: float) -> float | str:
    return "" if math.isnan(value) else value
