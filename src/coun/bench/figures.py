"""Pictures of a bench: distance to Retrain, its cost, who stays first, curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from coun.bench.tables import Block, Line
from coun.metrics import columns
from coun.report import Row
from coun.report.figures import gaps, heat_table
from coun.report.figures.grid import subplots
from coun.report.style import CLASS_COLOURS, method_style, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def gap_bars(block: Block) -> Figure:
    """Mean gap of each method with its standard deviation and every seed, beside the floor."""
    lines = sorted(block.methods, key=lambda line: line.gap.mean)
    rows = [Row(line.name, {"average_gap": line.gap}) for line in lines]
    return gaps(rows, block.floor, points={line.name: list(line.gaps.values()) for line in lines})


def gap_against_cost(block: Block) -> Figure:
    """Each method's mean gap over its operations relative to Retrain, the cost in logarithm.

    Filled marks have the module. Variants of a method are joined where one setting varies,
    and say its value or what their label adds. No cheaper method beats one on the grey line.
    """
    lines = [x for x in block.methods if x.costs["flops_ratio"] > 0]
    bases = list(dict.fromkeys(line.base for line in lines))
    with styled():
        figure, (axes,) = subplots((7.5, max(4.6, 0.2 * len(bases) + 0.4)))
        for base in bases:
            mine = [line for line in lines if line.base == base]
            costs = [line.costs["flops_ratio"] for line in mine]
            joined = all(len(line.varied) == 1 for line in mine)
            name = base + " (f)" * mine[0].reads_forget
            _curve(axes, costs, mine, base, label=name, joined=joined, filled=mine[0].module)
            for line, cost in zip(mine, costs, strict=True):
                words = [method_style(base).words, *map(str, line.varied.values())]
                axes.annotate(
                    ", ".join(filter(None, words)),
                    (cost, line.gap.mean),
                    xytext=(4, 4),
                    textcoords="offset points",
                    fontsize=8,
                )
        front = _front(lines)
        axes.step(
            [line.costs["flops_ratio"] for line in front],
            [line.gap.mean for line in front],
            where="post",
            color="#999999",
            zorder=0,
        )
        _floor(axes, block)
        axes.set_xscale("log")
        axes.set_xlabel(
            "operations over Retrain's; filled: with the module; (f): reads forget data"
        )
        figure.legend(loc="outside right upper", fontsize=8)
    return figure


def _front(lines: Sequence[Line]) -> list[Line]:
    """Lines that no cheaper one beats, by cost."""
    found: list[Line] = []
    for line in sorted(lines, key=lambda x: (x.costs["flops_ratio"], x.gap.mean)):
        if not found or line.gap.mean < found[-1].gap.mean:
            found.append(line)
    return found


def ranks(block: Block) -> Figure:
    """How often each method has each rank when the seeds are drawn again with replacement."""
    shares = {name: 100 * np.array(found) for name, found in block.ranks.items()}
    places = [str(place) for place in range(1, len(shares) + 1)]
    ordered = dict(sorted(shares.items(), key=lambda one: one[1] @ np.arange(len(shares))))
    label = "rank by gap, % of resamples of the seeds"
    return heat_table(ordered, places, label=label, digits=0, limits=(0, 100))


def stage_curves(tables: Sequence[Block]) -> Figure:
    """Mean gap after each stage of a sequential request."""
    with styled():
        figure, (axes,) = subplots((7.5, 4.2))
        for name in (line.name for line in tables[-1].methods):
            found = {t.stage: x for t in tables for x in t.methods if x.name == name}
            _curve(axes, list(found), list(found.values()), name)
        floors = [(t.stage, t.floor) for t in tables if not math.isnan(t.floor)]
        axes.plot(*zip(*floors, strict=True) if floors else ([], []), "k--", linewidth=1)
        axes.set_xticks([t.stage for t in tables])
        axes.set_xlabel("stage (dashed: Retrain against Retrain)")
        axes.set_ylabel("gap to Retrain, points")
        axes.set_ylim(bottom=0)
        figure.legend(loc="outside right upper", fontsize=8)
    return figure


def varied(block: Block) -> list[tuple[str, str]]:
    """(base, setting) of every method in the table that one setting alone was varied of."""
    found = [(x.base, next(iter(x.varied))) for x in block.methods if len(x.varied) == 1]
    return list(dict.fromkeys(found))


def ablation_curve(block: Block, base: str, setting: str) -> Figure:
    """Gap, and the metrics it is made of, over the values of one setting."""
    lines = [x for x in block.methods if x.base == base and list(x.varied) == [setting]]
    values = [line.varied[setting] for line in lines]
    numeric = all(isinstance(v, int | float) for v in values)
    places = values if numeric else list(range(len(values)))
    with styled():
        figure, (left, right) = subplots((9, 3.6), 1, 2)
        _curve(left, places, lines, base)
        _floor(left, block)
        for number, metric in enumerate(block.metrics):
            differences = [x.differences[metric] for x in lines]
            right.plot(
                places,
                differences,
                marker="osD^"[number],
                color=CLASS_COLOURS[number],
                label=columns()[metric].label,
            )
        right.axhline(0, color="black", linewidth=1)
        right.set_ylabel("difference to Retrain, points")
        right.legend(fontsize=8)
        for axes in (left, right):
            axes.set_xlabel(f"{setting} of {base}")
            if not numeric:
                axes.set_xticks(places, [str(v) for v in values])
            elif min(values) > 0 and max(values) / min(values) > 30:
                axes.set_xscale("log")
    return figure


def _curve(
    axes: Axes,
    places: Sequence[float],
    lines: Sequence[Line],
    name: str,
    *,
    label: str | None = None,
    joined: bool = True,
    filled: bool = True,
) -> None:
    """Mean gaps with their standard deviations, in the look of *name*."""
    style = method_style(name)
    axes.errorbar(
        places,
        [line.gap.mean for line in lines],
        yerr=[line.gap.std or 0 for line in lines],
        marker=style.marker,
        color=style.colour,
        markerfacecolor=style.colour if filled else "white",
        linestyle=style.line if joined else "",
        capsize=2,
        label=label or name,
    )


def _floor(axes: Axes, block: Block) -> None:
    """The axis of gaps, and the floor as a dashed line where it was measured."""
    if not math.isnan(block.floor):
        axes.axhline(block.floor, color="black", linestyle="--", linewidth=1)
    axes.set_ylabel("gap to Retrain, points")
    axes.set_ylim(bottom=0)
