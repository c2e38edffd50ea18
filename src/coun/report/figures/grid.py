"""Panels in a grid."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure


def panels(
    count: int, size: tuple[float, float], most: int = 3, **share: Any
) -> tuple[Figure, list[Axes]]:
    """*count* axes in rows of *most* or fewer, as even as can be; what is left over is blank.

    Args:
        size: of a panel, inches.
        share: `sharex`, `sharey`.
    """
    lines = -(-count // most)
    columns = -(-count // lines)
    figure, grid = plt.subplots(
        lines,
        columns,
        figsize=(size[0] * columns + 0.4, size[1] * lines + 0.5),
        squeeze=False,
        **share,
    )
    for axes in grid.flat[count:]:
        axes.set_axis_off()
    shown = list(grid.flat[:count])
    for axes in shown[-columns:]:
        axes.tick_params(labelbottom=True)  # also where the last row does not reach
    return figure, shown
