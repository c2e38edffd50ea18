"""How far each version of a served model is from the last Retrain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from coun.report.figures.grid import subplots
from coun.report.style import GREEN, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EVERY = 12  # labels of versions on the axis at most


@styled()
def drift_curve(versions: Sequence[int], drift: Sequence[float], exact: Sequence[bool]) -> Figure:
    """Draw the drift of versions, with a new line after each Retrain.

    Args:
        versions: their numbers, in order.
        drift: percent of test rows classified otherwise than by the last Retrain or, where there
            is none, version 1; NaN if unknown.
        exact: whether the version is a Retrain, which begins a new line.

    >>> figure = drift_curve([1, 2, 3], [0.0, 1.5, 0.0], [False, False, True])
    >>> [len(line.get_xdata()) for line in figure.axes[0].lines]
    [2, 1, 1]
    """
    figure, (axes,) = subplots((6.4, 2.8))
    lines: list[list[int]] = []
    for place in range(len(versions)):
        if exact[place] or not lines:
            lines.append([])
        lines[-1].append(place)
    for line in lines:
        x, y = [versions[place] for place in line], [drift[place] for place in line]
        axes.plot(x, y, color=GREEN, marker="o", markersize=5, clip_on=False)
        if exact[line[0]]:
            axes.plot(
                x[:1],
                y[:1],
                color="black",
                marker="*",
                markersize=12,
                linestyle="",
                clip_on=False,
            )
            axes.annotate(
                "Retrain", (x[0], y[0]), xytext=(-3, 8), textcoords="offset points", ha="right"
            )
    step = math.ceil(len(versions) / EVERY) if versions else 1
    axes.set_xticks(list(versions)[::step])
    axes.set_xlabel("version")
    axes.set_ylabel("drift, % of test rows")
    axes.margins(y=0.15)
    axes.set_ylim(bottom=0, top=max(1.0, axes.get_ylim()[1]))  # 1% where nothing has drifted yet
    return figure
