"""Figures of one or several panels, made without pyplot, which would change the host process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def subplots(
    size: tuple[float, float], rows: int = 1, columns: int = 1, **share: Any
) -> tuple[Figure, list[Axes]]:
    """Make a figure with *rows* x *columns* axes, row by row.

    As `matplotlib.pyplot.subplots`, but without pyplot: importing that chooses a backend, and
    a figure of pyplot stays in memory until it is closed.

    Args:
        size: of the figure, width and height in inches.
        share: `sharex`, `sharey`, as in matplotlib.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=size)
    return figure, list(figure.subplots(rows, columns, squeeze=False, **share).flat)


def panels(
    count: int, size: tuple[float, float], most: int = 3, **share: Any
) -> tuple[Figure, list[Axes]]:
    """Make *count* axes in rows of at most *most*, as evenly as possible; the rest stays blank.

    Args:
        size: of one panel, width and height in inches.
        share: `sharex`, `sharey`, as in matplotlib.
    """
    rows = -(-count // most)
    columns = -(-count // rows)
    figure, axes = subplots((size[0] * columns + 0.4, size[1] * rows + 0.5), rows, columns, **share)
    for blank in axes[count:]:
        blank.set_axis_off()
    for lowest in axes[:count][-columns:]:
        lowest.tick_params(labelbottom=True)  # also in a column that the last row does not reach
    return figure, axes[:count]
