"""Curves: how well attacks tell members, how losses spread, how the loss lies around a model."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from coun.analysis import Slice
from coun.attacks.roc_curves import Curve
from coun.report.figures.grid import panels
from coun.report.style import RC, look

LEAST_LOSS = 1e-5  # nats; smaller losses share the first bin
LINES = {"forget": "-", "test": "--"}


def roc_curves(curves: Mapping[str, Curve]) -> Figure:
    """ROC curves of one attack on several models, both axes logarithmic, with the chance line.

    Axes end at one sample; what lies at 0 stands at the edge, half a sample. The
    legend gives the counts: members, others.
    """
    with plt.rc_context(RC):
        figure, axes = plt.subplots(figsize=(5.6, 5))
        lowest = 1.0
        for name, curve in curves.items():
            members, others = int(curve.members[-1]), int(curve.others[-1])
            style, edge = look(name), (0.5 / others, 0.5 / members)
            x = np.maximum(curve.others / others, edge[0])
            y = np.maximum(curve.members / members, edge[1])
            lowest = min(lowest, *edge)
            axes.plot(
                x,
                y,
                color=style.colour,
                linestyle=style.line,
                marker=style.marker,
                markevery=0.15,
                markersize=5,
                linewidth=1.6,
                label=f"{name} ({members:,}, {others:,})",
            )
        axes.plot([lowest, 1], [lowest, 1], color="black", linestyle=":", linewidth=1)
        # A point on the diagonal in the middle of the picture, whatever its range.
        axes.annotate(
            "chance",
            (lowest**0.5, lowest**0.5),
            xytext=(4, -4),
            textcoords="offset points",
            va="top",
        )
        axes.set(xscale="log", yscale="log", xlim=(lowest, 1.05), ylim=(lowest, 1.05))
        axes.set_xlabel("false positive rate")
        axes.set_ylabel("true positive rate")
        axes.set_aspect("equal")
        axes.legend(title="(members, others)", loc="lower right", fontsize=8, title_fontsize=8)
    return figure


def loss_histograms(losses: Mapping[str, Mapping[str, ArrayLike]], *, bins: int = 24) -> Figure:
    """Losses of forget against test samples, a panel a model, the same bins in all.

    Args:
        losses: per model, "forget" and "test": nats, (N,).

    The outlines coincide where a model takes forgotten samples for unseen ones. Bins are
    logarithmic; losses under 1e-5 share the first. Heights are percent of the samples.
    """
    groups = {
        name: {part: np.maximum(np.asarray(one[part], float), LEAST_LOSS) for part in LINES}
        for name, one in losses.items()
    }
    top = max(float(x.max()) for one in groups.values() for x in one.values())
    edges = np.geomspace(LEAST_LOSS, max(top, 1.0) * 1.001, bins + 1)
    with plt.rc_context(RC):
        figure, grid = panels(len(groups), (3.4, 2.4), sharex=True, sharey=True)
        for axes, (name, one) in zip(grid, groups.items(), strict=True):
            colour = look(name).colour
            for part, line in LINES.items():
                counts = np.histogram(one[part], edges)[0]
                forget = part == "forget"
                axes.stairs(
                    100 * counts / max(1, len(one[part])),
                    edges,
                    color=colour if forget else "black",
                    linestyle=line,
                    linewidth=1.8 if forget else 1.2,
                    label=f"{part}, {len(one[part]):,}",
                )
            axes.set_xscale("log")
            axes.set_title(name)
            axes.legend(fontsize=8, frameon=False)
        figure.supxlabel("cross entropy, nats")
        figure.supylabel("% of samples")
    return figure


def loss_lines(slices: Mapping[str, Slice]) -> Figure:
    """Loss along a line through each model, a panel a role; the model stands at 0."""
    roles = list(next(iter(slices.values())).losses)
    with plt.rc_context(RC):
        figure, grid = plt.subplots(
            1, len(roles), figsize=(4.2 * len(roles), 3.6), sharey=True, squeeze=False
        )
        for axes, role in zip(grid.flat, roles, strict=True):
            for name, one in slices.items():
                style = look(name)
                axes.plot(
                    one.steps,
                    one.losses[role],
                    color=style.colour,
                    linestyle=style.line,
                    marker=style.marker,
                    markersize=4,
                    label=name,
                )
            axes.axvline(0, color="black", linewidth=0.6)
            axes.set_title(role)
            axes.set_xlabel("step along the direction")
            axes.set_yscale("log")
            axes.locator_params(axis="x", nbins=5)
        grid[0, 0].set_ylabel("loss, nats")
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(6, len(slices)))
    return figure


def loss_planes(slices: Mapping[str, Slice], *, levels: int = 8) -> Figure:
    """Loss in a plane through each model as labelled contours; rows are models, columns roles.

    All panels share their levels, which are logarithmic; darker is higher. A plus marks the
    model.
    """
    roles = list(next(iter(slices.values())).losses)
    found = np.stack([one.losses[role] for one in slices.values() for role in roles])
    low = max(float(found.min()), LEAST_LOSS)
    high = max(float(found.max()), 1.01 * low)
    heights = np.geomspace(low, high, levels + 2)[1:-1]
    paint = LogNorm(low, high * high / low)  # no darker than half, so that labels can be read
    shades = np.geomspace(low * 0.999, high * 1.001, 4 * levels)
    with plt.rc_context(RC):
        figure, grid = plt.subplots(
            len(slices),
            len(roles),
            figsize=(3.6 * len(roles), 3.4 * len(slices)),
            sharex=True,
            sharey=True,
            squeeze=False,
        )
        for line, (name, one) in zip(grid, slices.items(), strict=True):
            for axes, role in zip(line, roles, strict=True):
                # contour wants the first direction along x, so the table is turned.
                height = np.maximum(one.losses[role].T, low)
                where = (one.steps, one.steps, height)
                axes.contourf(*where, shades, norm=paint, cmap="Greys")
                drawn = axes.contour(*where, heights, colors="black", linewidths=0.8)
                axes.clabel(drawn, fmt="%.2g", fontsize=8)
                axes.plot([0], [0], marker="+", color="black", markersize=10, linestyle="")
                axes.set_title(f"{name}: {role}")
                axes.set_aspect("equal")
                axes.locator_params(nbins=5)
        figure.supxlabel("step along the first direction")
        figure.supylabel("step along the second")
    return figure
