"""Pictures of a bench: distance to Retrain, its cost, who stays first, curves."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from coun.bench.tables import Block, Line
from coun.report.style import RC

PALETTE = matplotlib.colormaps["tab20"]
MARKS = "osD^vP*X<>"


def _colours(names: Sequence[str]) -> dict[str, tuple[float, ...]]:
    return {name: PALETTE(place % 20) for place, name in enumerate(names)}


def gap_bars(block: Block) -> Figure:
    """Mean gap of each method with its standard deviation and every seed, beside the floor.

    Orange: the method reads forget data. Hatched: with the module.
    """
    lines = sorted(block.methods, key=lambda line: -line.gap.mean)
    with plt.rc_context(RC):
        figure, axes = plt.subplots(figsize=(7.5, 0.42 * len(lines) + 1.4))
        for place, line in enumerate(lines):
            colour = "#E69F00" if line.reads_forget else "#56B4E9"
            hatch = "//" if line.module else ""
            axes.barh(place, line.gap.mean, height=0.6, color=colour, hatch=hatch, ec="white")
            axes.errorbar(line.gap.mean, place, xerr=line.gap.std or 0, color="black", capsize=3)
            axes.plot(list(line.gaps.values()), [place] * line.runs, "k.", ms=3, alpha=0.6)
            axes.text(
                max([line.gap.mean + (line.gap.std or 0), *line.gaps.values()]),
                place,
                f"  {line.gap.mean:.2f}",
                va="center",
            )
        if not math.isnan(block.floor):
            axes.axvline(block.floor, color="black", linestyle="--", linewidth=1)
        axes.set_yticks(range(len(lines)), [line.name for line in lines])
        axes.set_xlabel("gap to Retrain, points (dashed: Retrain against Retrain)")
        axes.margins(x=0.12)
        axes.set_xlim(left=0)
    return figure


def gap_against_cost(block: Block) -> Figure:
    """Each method's mean gap over its operations relative to Retrain, the cost in logarithm.

    Methods on the line are nearest for their cost or less.
    """
    lines = [x for x in block.methods if x.costs["flops_ratio"] > 0]
    colours = _colours([line.base for line in lines])
    with plt.rc_context(RC):
        figure, axes = plt.subplots(figsize=(7.5, 4.6))
        for place, line in enumerate(lines):
            axes.errorbar(
                line.costs["flops_ratio"],
                line.gap.mean,
                yerr=line.gap.std or 0,
                fmt=MARKS[place % len(MARKS)],
                color=colours[line.base],
                mfc=colours[line.base] if line.reads_forget else "white",
                capsize=2,
                label=line.name,
            )
        front = _front(lines)
        axes.plot(
            [line.costs["flops_ratio"] for line in front],
            [line.gap.mean for line in front],
            color="#999999",
            zorder=0,
        )
        if not math.isnan(block.floor):
            axes.axhline(block.floor, color="black", linestyle="--", linewidth=1)
        axes.set_xscale("log")
        axes.set_xlabel("operations over Retrain's (filled marks read forget data)")
        axes.set_ylabel("gap to Retrain, points")
        axes.set_ylim(bottom=0)
        figure.legend(loc="outside right upper", fontsize=8)
    return figure


def _front(lines: Sequence[Line]) -> list[Line]:
    """Lines that no cheaper one beats, by cost."""
    found: list[Line] = []
    for line in sorted(lines, key=lambda x: (x.costs["flops_ratio"], x.gap.mean)):
        if not found or line.gap.mean < found[-1].gap.mean:
            found.append(line)
    return found


def rank_bars(block: Block) -> Figure:
    """How often each method has each rank when the seeds are drawn again with replacement."""
    names = sorted(block.ranks, key=lambda name: _mean_rank(block.ranks[name]), reverse=True)
    with plt.rc_context(RC):
        figure, axes = plt.subplots(figsize=(7.5, 0.38 * len(names) + 1.4))
        shades = matplotlib.colormaps["viridis"].resampled(len(names))
        for place, name in enumerate(names):
            left = 0.0
            for rank, share in enumerate(block.ranks[name]):
                axes.barh(place, share, left=left, height=0.7, color=shades(rank))
                left += share
        axes.set_yticks(range(len(names)), names)
        axes.set_xlabel("share of resamples with rank 1 (darkest), 2, ...")
        axes.set_xlim(0, 1)
    return figure


def _mean_rank(shares: Sequence[float]) -> float:
    return sum(rank * share for rank, share in enumerate(shares))


def stage_curves(tables: Sequence[Block]) -> Figure:
    """Mean gap after each stage of a sequential request."""
    names = [line.name for line in tables[-1].methods]
    colours = _colours(names)
    with plt.rc_context(RC):
        figure, axes = plt.subplots(figsize=(7.5, 4.2))
        for place, name in enumerate(names):
            points = [(t.stage, x.gap) for t in tables for x in t.methods if x.name == name]
            axes.errorbar(
                [stage for stage, _ in points],
                [gap.mean for _, gap in points],
                yerr=[gap.std or 0 for _, gap in points],
                marker=MARKS[place % len(MARKS)],
                color=colours[name],
                capsize=2,
                label=name,
            )
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
    found: dict[tuple[str, str], None] = {}
    for line in block.methods:
        if len(line.varied) == 1:
            found[line.base, next(iter(line.varied))] = None
    return list(found)


def ablation_curve(block: Block, base: str, setting: str) -> Figure:
    """Gap, and the metrics it is made of, over the values of one setting."""
    lines = [x for x in block.methods if x.base == base and list(x.varied) == [setting]]
    values = [line.varied[setting] for line in lines]
    numeric = all(isinstance(v, int | float) for v in values)
    places = values if numeric else list(range(len(values)))
    with plt.rc_context(RC):
        figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6))
        left.errorbar(
            places,
            [line.gap.mean for line in lines],
            yerr=[line.gap.std or 0 for line in lines],
            marker="o",
            color="black",
            capsize=2,
        )
        if not math.isnan(block.floor):
            left.axhline(block.floor, color="black", linestyle="--", linewidth=1)
        left.set_ylabel("gap to Retrain, points")
        left.set_ylim(bottom=0)
        marks = []
        for place, metric in enumerate(block.metrics):
            colour = PALETTE(2 * place)
            right.plot(
                places, [x.differences[metric] for x in lines], marker=MARKS[place], color=colour
            )
            name = {"mia_efficacy": "MIA"}.get(metric, metric[0].upper() + "A")
            marks.append(Line2D([], [], marker=MARKS[place], color=colour, label=name))
        right.axhline(0, color="black", linewidth=1)
        right.set_ylabel("difference to Retrain, points")
        right.legend(handles=marks, fontsize=8)
        for axes in (left, right):
            axes.set_xlabel(f"{setting} of {base}")
            if not numeric:
                axes.set_xticks(places, [str(v) for v in values])
            elif min(values) > 0 and max(values) / min(values) > 30:
                axes.set_xscale("log")
    return figure
