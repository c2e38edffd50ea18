"""Tables as heat maps; every cell shows its number, so that no reader depends on colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from coun.report.figures.grid import panels, subplots
from coun.report.style import short_names, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CROWDED = 20  # with more columns than this, numbers would overlap and are left out


def prediction_row(shares: Mapping[str, np.ndarray], classes: Sequence[str]) -> Figure:
    """Draw which classes each model predicts for the forgotten rows.

    Args:
        shares: by model the percentage of forgotten rows per predicted class, (K,).
        classes: K names.

    >>> figure = prediction_row({"Retrain": np.array([80.0, 20.0])}, ["cat", "dog"])
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['80', '20']
    """
    label = "predicted class of the forgotten rows, %"
    return heat_table(shares, classes, label=label, digits=0, limits=(0, 100))


@styled()
def heat_table(
    rows: Mapping[str, np.ndarray],
    columns: Sequence[str],
    *,
    label: str,
    digits: int = 2,
    limits: tuple[float, float] | None = None,
    zeros: bool = True,
) -> Figure:
    """Draw a table with one row of K numbers for each model.

    Examples are distances to centroids, classes of neighbours, and shares of predictions.

    Args:
        rows: by model its numbers, (K,); NaN, where a model has no number, is written "none".
        columns: K names.
        label: what the numbers are, with their unit.
        digits: decimals.
        limits: the ends of the grey scale, white and black; by default the smallest and the
            largest number.
        zeros: whether numbers that are rounded to 0 are written.

    >>> figure = heat_table({"FT": np.array([0.5, np.nan])}, ["a", "b"], label="distance")
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['0.50', 'none']
    """
    columns = short_names(columns)
    table = np.stack([np.asarray(row, dtype=float) for row in rows.values()])
    low, high = limits or (float(np.nanmin(table)), float(np.nanmax(table)))
    width = max(0.75, 0.16 * digits + 0.4, 0.1 * max(map(len, columns))) * len(columns) + 2
    figure, (axes,) = subplots((width, 0.5 * len(table) + 1.3))
    axes.imshow(table, cmap="Greys", vmin=low, vmax=high, aspect="auto")
    dark = low + 0.55 * (high - low)
    for (row, column), value in np.ndenumerate(table):
        text = f"{value:.{digits}f}" if np.isfinite(value) else "none"
        if not zeros and text == f"{0:.{digits}f}":
            continue
        _number(axes, row, column, text, white=value > dark)
    _frame(axes, list(rows), columns)
    axes.set_xlabel(label)
    return figure


@styled()
def confusion_differences(
    matrices: Mapping[str, np.ndarray], retrain: np.ndarray, classes: Sequence[str]
) -> Figure:
    """Draw each model's confusion matrix minus Retrain's, in points, one panel for each model.

    What a model predicts more often than Retrain is red and has a plus; what it predicts less
    often is blue and has a minus. Numbers are rounded to points; 0 is not written.

    Args:
        matrices, retrain: counts (K, K) of `coun.metrics.confusion`, with true classes down
            and predicted classes across. Each line is turned into percent; a class without rows
            has no line.
        classes: K names.

    >>> retrain, model = np.array([[8, 2], [0, 10]]), np.array([[9, 1], [0, 10]])
    >>> figure = confusion_differences({"FT": model}, retrain, ["cat", "dog"])
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['+10', '-10']
    """
    from matplotlib.ticker import MaxNLocator

    present = np.flatnonzero(np.asarray(retrain).sum(axis=1))
    exact = _percent(retrain)
    differences = {name: (_percent(m) - exact)[present] for name, m in matrices.items()}
    size, classes = len(classes), short_names(classes)
    longest = max(map(len, classes))
    most = max(1.0, *(float(np.nanmax(np.abs(d))) for d in differences.values()))
    side = min(8.0, max(3.0, 0.42 * size + 1))
    height, names = side * (len(present) + 3) / (size + 3), 0.08 * max(0, longest - 3)
    figure, grid = panels(len(matrices), (side + names, height + names), most=2)
    for axes, (name, difference) in zip(grid, differences.items(), strict=True):
        image = axes.imshow(difference, cmap="RdBu_r", vmin=-most, vmax=most)
        for (row, column), value in np.ndenumerate(difference):
            if size <= CROWDED and np.isfinite(value) and round(float(value)):
                white = abs(value) > 0.6 * most
                _number(axes, row, column, f"{value:+.0f}", white=white, size=8)
        _frame(axes, [classes[int(row)] for row in present], classes)
        if longest > 3:
            axes.tick_params(axis="x", rotation=90)
        axes.set_title(f"{name} minus Retrain")
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
    figure.colorbar(
        image,
        ax=grid,
        label="points",
        shrink=0.6 if len(present) > 5 else 1,
        format="%+.0f",
        ticks=MaxNLocator(integer=True),
    )
    return figure


def _percent(counts: np.ndarray) -> np.ndarray:
    rows = np.asarray(counts, dtype=float)
    totals = rows.sum(axis=1, keepdims=True)
    return np.asarray(100 * rows / np.where(totals > 0, totals, np.nan))


def _number(axes: Axes, row: int, column: int, text: str, *, white: bool, size: int = 10) -> None:
    colour = "white" if white else "black"
    axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=size)


def _frame(axes: Axes, rows: Sequence[str], columns: Sequence[str]) -> None:
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
