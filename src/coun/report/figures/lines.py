"""Curves: the power of attacks, the spread of losses, and the loss around a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from coun.report.figures.grid import panels, subplots
from coun.report.style import method_style, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from coun.analysis import Slice
    from coun.attacks.roc_curves import Curve

LEAST_LOSS = 1e-5  # nats; smaller losses share the first bin
LINES = {"forget": "-", "test": "--"}


@styled()
def roc_curves(curves: Mapping[str, Curve]) -> Figure:
    """Draw the ROC curves of one attack on several models, with the line of pure chance.

    Both axes are logarithmic and end at half a row, where rates of 0 are drawn. The legend
    gives the numbers of members and others.

    Args: curves: by model, as `coun.attacks.curve` returns them.

    >>> from coun.attacks import curve
    >>> scores = np.linspace(0, 1, 50)
    >>> figure = roc_curves({"FT": curve(scores + 0.5, scores), "Retrain": curve(scores, scores)})
    >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    ['FT (50, 50)', 'Retrain (50, 50)']
    """
    figure, (axes,) = subplots((5.6, 5))
    lowest = 1.0
    for name, curve in curves.items():
        members, others = int(curve.members[-1]), int(curve.others[-1])
        style, edge = method_style(name), (0.5 / others, 0.5 / members)
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
    # The word is placed on the diagonal, in the middle of the picture whatever its range.
    axes.annotate(
        "chance",
        (lowest**0.5, lowest**0.5),
        xytext=(4, -4),
        textcoords="offset points",
        va="top",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        zorder=10,
    )
    axes.set(xscale="log", yscale="log", xlim=(lowest, 1.05), ylim=(lowest, 1.05))
    axes.set_xlabel("false positive rate")
    axes.set_ylabel("true positive rate")
    axes.set_aspect("equal")
    axes.legend(title="(members, others)", loc="lower right", fontsize=8, title_fontsize=8)
    return figure


@styled()
def loss_histograms(losses: Mapping[str, Mapping[str, ArrayLike]], *, bins: int = 24) -> Figure:
    """Draw the losses of forget and test rows as histograms, one panel for each model.

    The two outlines coincide where a model treats forgotten rows as unseen ones. Bins are
    logarithmic and the same in all panels; losses under 1e-5 nats are counted in the first.

    Args:
        losses: by model, under "forget" and "test": cross entropy in nats, (N,).
        bins: their number.

    >>> losses = {"forget": np.array([0.01, 0.02]), "test": np.array([0.5, 2.0])}
    >>> len(loss_histograms({"FT": losses, "Retrain": losses}).axes)  # panels
    2
    """
    groups = {
        name: {part: np.maximum(np.asarray(values[part], float), LEAST_LOSS) for part in LINES}
        for name, values in losses.items()
    }
    top = max(float(x.max()) for parts in groups.values() for x in parts.values())
    edges = np.geomspace(LEAST_LOSS, max(top, 1.0) * 1.001, bins + 1)
    figure, grid = panels(len(groups), (3.4, 2.4), sharex=True, sharey=True)
    for axes, (name, parts) in zip(grid, groups.items(), strict=True):
        for part, line in LINES.items():
            counts = np.histogram(parts[part], edges)[0]
            forget = part == "forget"
            axes.stairs(
                100 * counts / max(1, len(parts[part])),
                edges,
                color=method_style(name).colour if forget else "black",
                linestyle=line,
                linewidth=1.8 if forget else 1.2,
                label=f"{part}, {len(parts[part]):,}",
            )
        axes.set_xscale("log")
        axes.set_title(name)
        axes.legend(fontsize=8, frameon=False)
    figure.supxlabel("cross entropy, nats")
    figure.supylabel("% of rows")
    return figure


@styled()
def loss_lines(slices: Mapping[str, Slice]) -> Figure:
    """Draw the loss along a line through each model, one panel for each role.

    Args: slices: by model, as `coun.analysis.landscape` returns them; each model is at step 0.

    >>> from coun.analysis import Slice
    >>> around = Slice(np.array([-1.0, 0.0, 1.0]), {"retain": np.array([2.0, 0.1, 2.2])})
    >>> [axes.get_title() for axes in loss_lines({"FT": around}).axes]
    ['retain']
    """
    roles = list(next(iter(slices.values())).losses)
    figure, grid = subplots((4.2 * len(roles), 3.6), 1, len(roles), sharey=True)
    for axes, role in zip(grid, roles, strict=True):
        for name, along in slices.items():
            style = method_style(name)
            axes.plot(
                along.steps,
                along.losses[role],
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
    grid[0].set_ylabel("loss, nats")
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(6, len(slices)))
    return figure
