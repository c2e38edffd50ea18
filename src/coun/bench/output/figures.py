"""Pictures of a bench: distance to Retrain, its cost, stability of ranks, curves."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from coun.bench.output.result_table import ResultRow, ResultTable
from coun.report import Row
from coun.report.figures import gaps, heat_table
from coun.report.figures.bars import LONGEST
from coun.report.figures.grid import subplots
from coun.report.style import CLASS_COLOURS, SEED, method_style, short_names, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def gap_bars(table: ResultTable) -> Figure:
    """Mean gap of each method with its standard deviation and every seed, and the floor."""
    ordered = sorted(table.methods, key=lambda row: row.gap.mean)
    bars = [Row(row.name, {"average_gap": row.gap}) for row in ordered]
    return gaps(bars, table.floor, points={row.name: list(row.gaps.values()) for row in ordered})


def gap_against_cost(table: ResultTable) -> Figure:
    """Mean gap of each method over its operations relative to Retrain's, on a logarithmic axis.

    Filled marks use the module. Variants of a method are joined where one setting varies, and
    carry its value or what their label adds. The grey line joins the methods that are nearer
    than every cheaper one.
    """
    rows = [x for x in table.methods if x.costs["flops_ratio"] > 0]
    bases = list(dict.fromkeys(row.base for row in rows))
    with styled():
        figure, (axes,) = subplots((7.5, max(4.6, 0.2 * len(bases) + 0.4)))
        marks: list[tuple[float, float, str]] = []
        for base in bases:
            variants = [row for row in rows if row.base == base]
            costs = [row.costs["flops_ratio"] for row in variants]
            joined = all(len(row.varied) == 1 for row in variants)
            name = base + " (f)" * variants[0].reads_forget
            module = variants[0].module
            wrapped = textwrap.fill(name, LONGEST)
            _curve(axes, costs, variants, base, label=wrapped, joined=joined, filled=module)
            for row, cost in zip(variants, costs, strict=True):
                words = [method_style(base).words, *map(str, row.varied.values())]
                if text := ", ".join(filter(None, words)):
                    marks.append((cost, row.gap.mean, short_names([text], LONGEST)[0]))
        front = _pareto_front(rows)
        axes.step(
            [row.costs["flops_ratio"] for row in front],
            [row.gap.mean for row in front],
            where="post",
            color="#999999",
            zorder=0,
        )
        _gap_axis(axes, table)
        _logarithmic(axes)
        axes.set_xlabel(
            "operations, divided by Retrain's\nfilled mark: with the module; (f): reads forget rows"
        )
        figure.legend(loc="outside right upper", fontsize=8)
        figure.draw_without_rendering()  # the legend has made the axes narrower
        _write_beside(axes, marks)
    return figure


def improvements(table: ResultTable, printed: Mapping[str, float] | None = None) -> Figure:
    """By how many percent the module makes the gap of each method smaller (CoUn, Figure 4).

    A bar is the mean, and each circle one seed.

    Args: printed: the values of the paper, by label of the method; shown as diamonds.
    """
    tests, printed = table.module, printed or {}
    with styled():
        figure, (axes,) = subplots((max(3.6, 1.1 * len(tests) + 1.4), 3.4))
        for place, test in enumerate(tests):
            style = method_style(test.name)
            axes.bar(place, test.improvement, 0.6, color=style.colour, hatch=style.hatch)
            axes.plot([place] * len(test.by_seed), test.by_seed, **SEED)
            axes.annotate(
                f"{test.improvement:.0f}%",
                (place + 0.3, test.improvement),
                xytext=(2, 0),
                textcoords="offset points",
                va="center",
                fontsize=8,
            )
            if test.name in printed:
                axes.plot(place, printed[test.name], "D", color="black", markersize=5)
        if printed.keys() & {test.name for test in tests}:
            axes.plot([], [], "D", color="black", markersize=5, label="printed")
            figure.legend(loc="outside right upper", fontsize=8)
        axes.margins(y=0.12)  # room for the percentages
        axes.set_xlim(right=len(tests) - 0.4)
        axes.axhline(0, color="black", linewidth=1)
        names = [test.base.partition(" / ")[2] for test in tests]
        axes.set_xticks(range(len(tests)), names)
        if sum(map(len, names)) > 11 * len(names):
            axes.tick_params(axis="x", rotation=25)
        axes.set_ylabel("gap made smaller\nby the module, %")
    return figure


def _pareto_front(rows: Sequence[ResultRow]) -> list[ResultRow]:
    """The rows that are nearer than every cheaper one, by cost."""
    front: list[ResultRow] = []
    for row in sorted(rows, key=lambda x: (x.costs["flops_ratio"], x.gap.mean)):
        if not front or row.gap.mean < front[-1].gap.mean:
            front.append(row)
    return front


def ranks(table: ResultTable) -> Figure:
    """How often each method has each rank over bootstrap resamples of the seeds."""
    shares = {name: 100 * np.array(share) for name, share in table.ranks.items()}
    places = [str(place) for place in range(1, len(shares) + 1)]
    ordered = dict(sorted(shares.items(), key=lambda item: item[1] @ np.arange(len(shares))))
    label = "rank by gap, % of resamples of the seeds"
    return heat_table(ordered, places, label=label, digits=0, limits=(0, 100), zeros=False)


def stage_curves(tables: Sequence[ResultTable]) -> Figure:
    """Mean gap after each stage of a sequential request."""
    with styled():
        figure, (axes,) = subplots((7.5, 4.2))
        for name in (row.name for row in tables[-1].methods):
            rows = {t.stage: x for t in tables for x in t.methods if x.name == name}
            _curve(axes, list(rows), list(rows.values()), name)
        floors = [(t.stage, t.floor) for t in tables if not math.isnan(t.floor)]
        axes.plot(*zip(*floors, strict=True) if floors else ([], []), "k--", linewidth=1)
        axes.set_xticks([t.stage for t in tables])
        axes.set_xlabel("stage (dashed: Retrain against Retrain)")
        axes.set_ylabel("gap to Retrain, points")
        axes.set_ylim(bottom=0)
        figure.legend(loc="outside right upper", fontsize=8)
    return figure


def ablations(table: ResultTable) -> list[tuple[str, str]]:
    """(base, setting) of every method of which exactly one setting varies."""
    pairs = [(x.base, next(iter(x.varied))) for x in table.methods if len(x.varied) == 1]
    return list(dict.fromkeys(pairs))


def ablation_curve(table: ResultTable, base: str, setting: str) -> Figure:
    """The gap, and the differences that it averages, over the values of one setting."""
    rows = [x for x in table.methods if x.base == base and list(x.varied) == [setting]]
    values = [row.varied[setting] for row in rows]
    numeric = all(isinstance(v, int | float) for v in values)
    places = values if numeric else list(range(len(values)))
    with styled():
        figure, (left, right) = subplots((9, 3.6), 1, 2)
        _curve(left, places, rows, base)
        _gap_axis(left, table)
        for number, metric in enumerate(rows[0].differences):
            right.plot(
                places,
                [x.differences[metric] for x in rows],
                marker="osD^vP*X"[number % 8],
                color=CLASS_COLOURS[number % len(CLASS_COLOURS)],
                label=table.metrics[metric].label,
            )
        right.axhline(0, color="black", linewidth=1)
        right.set_ylabel("difference to Retrain, points")
        right.legend(fontsize=8)
        for axes in (left, right):
            axes.set_xlabel(f"{setting} of {base}")
            if not numeric:
                axes.set_xticks(places, [str(v) for v in values])
            elif min(values) > 0 and max(values) / min(values) > 30:
                _logarithmic(axes)
    return figure


def _curve(
    axes: Axes,
    places: Sequence[float],
    rows: Sequence[ResultRow],
    name: str,
    *,
    label: str | None = None,
    joined: bool = True,
    filled: bool = True,
) -> None:
    """Draw mean gaps with their standard deviations, in the style of method *name*."""
    style = method_style(name)
    axes.errorbar(
        places,
        [row.gap.mean for row in rows],
        yerr=[row.gap.std or 0 for row in rows],
        marker=style.marker,
        color=style.colour,
        markerfacecolor=style.colour if filled else "white",
        linestyle=style.line if joined else "",
        capsize=2,
        label=label or name,
    )


def _logarithmic(axes: Axes) -> None:
    """Make the horizontal axis logarithmic, with plain numbers such as 0.05 and 2."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _write_beside(axes: Axes, marks: Sequence[tuple[float, float, str]]) -> None:
    """Write a text beside each mark (x, y, text), moved up where it would cover another."""
    width, height = 4.5, 9.0  # points of one letter of size 8, and of a line
    scale = 72 / axes.figure.dpi
    taken: list[tuple[float, float, float]] = []
    for x, y, text in sorted(marks, key=lambda mark: mark[1]):
        left, bottom = scale * axes.transData.transform((x, y)) + 4
        right, base = left + width * len(text), bottom
        for start, end, other in sorted(taken, key=lambda place: place[2]):
            if start < right and left < end and abs(other - bottom) < height:
                bottom = other + height
        taken.append((left, right, bottom))
        axes.annotate(
            text,
            (x, y),
            xytext=(4, 4 + bottom - base),
            textcoords="offset points",
            fontsize=8,
        )


def _gap_axis(axes: Axes, table: ResultTable) -> None:
    """Label the axis of gaps, and draw the floor as a dashed line where it was measured."""
    if not math.isnan(table.floor):
        axes.axhline(table.floor, color="black", linestyle="--", linewidth=1)
    axes.set_ylabel("gap to Retrain, points")
    axes.set_ylim(bottom=0)
