"""Tables as heat maps: every cell says its number, so that no picture needs its colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from coun.report.figures.grid import panels
from coun.report.style import RC

CROWDED = 20  # more columns than this get no numbers


def prediction_row(shares: Mapping[str, np.ndarray], classes: Sequence[str]) -> Figure:
    """Where each model sends the forgotten samples: percent of them per predicted class (K,)."""
    label = "predicted class of the forgotten samples, %"
    return heat_table(shares, classes, label=label, digits=0, limits=(0, 100))


def heat_table(
    rows: Mapping[str, np.ndarray],
    columns: Sequence[str],
    *,
    label: str,
    digits: int = 2,
    limits: tuple[float, float] | None = None,
) -> Figure:
    """One row of numbers (K,) a model: distances to centroids, neighbours' classes, shares.

    NaN, where a model has no number, is written "none".

    Args:
        columns: K names.
        label: what the numbers are, with their unit.
        limits: of the grey scale, white to black; by default the smallest and largest number.
    """
    table = np.stack([np.asarray(row, dtype=float) for row in rows.values()])
    low, high = limits or (float(np.nanmin(table)), float(np.nanmax(table)))
    with plt.rc_context(RC):
        width = max(0.75, 0.16 * digits + 0.4, 0.1 * max(map(len, columns))) * len(columns) + 2
        figure, axes = plt.subplots(figsize=(width, 0.5 * len(table) + 1.3))
        axes.imshow(table, cmap="Greys", vmin=low, vmax=high, aspect="auto")
        dark = low + 0.55 * (high - low)
        for (row, column), value in np.ndenumerate(table):
            text = f"{value:.{digits}f}" if np.isfinite(value) else "none"
            _number(axes, row, column, text, light=value > dark)
        _frame(axes, list(rows), columns)
        axes.set_xlabel(label)
    return figure


def confusion_differences(
    found: Mapping[str, np.ndarray], retrain: np.ndarray, classes: Sequence[str]
) -> Figure:
    """Each model's confusion matrix minus Retrain's, in points, a panel a model.

    Args:
        found, retrain: counts (K, K) as `coun.metrics.confusion` gives them: true classes down,
            predicted across. Rows are turned into percent; one without samples stays empty.

    More than Retrain is red and has a plus; less is blue and has a minus; the numbers are
    rounded to points, and 0 is not written.
    """
    exact = _percent(retrain)
    differences = {name: _percent(matrix) - exact for name, matrix in found.items()}
    size = len(classes)
    most = max(1.0, *(float(np.nanmax(np.abs(d))) for d in differences.values()))
    side = min(8.0, max(3.0, 0.42 * size + 1))
    with plt.rc_context(RC):
        figure, grid = panels(len(found), (side, side), most=2)
        for axes, (name, difference) in zip(grid, differences.items(), strict=True):
            image = axes.imshow(difference, cmap="RdBu_r", vmin=-most, vmax=most)
            for (row, column), value in np.ndenumerate(difference):
                if size <= CROWDED and np.isfinite(value) and round(float(value)):
                    light = abs(value) > 0.6 * most
                    _number(axes, row, column, f"{value:+.0f}", light=light, small=True)
            _frame(axes, classes, classes)
            if max(map(len, classes)) > 3:
                axes.tick_params(axis="x", rotation=90)
            axes.set_title(f"{name} minus Retrain")
            axes.set_xlabel("predicted")
            axes.set_ylabel("true")
        figure.colorbar(image, ax=grid, label="points", shrink=0.6, format="%+.0f")
    return figure


def _percent(counts: np.ndarray) -> np.ndarray:
    rows = np.asarray(counts, dtype=float)
    whole = rows.sum(axis=1, keepdims=True)
    return np.asarray(100 * rows / np.where(whole > 0, whole, np.nan))


def _number(
    axes: Axes, row: int, column: int, text: str, *, light: bool, small: bool = False
) -> None:
    colour, size = ("white" if light else "black"), (8 if small else 10)
    axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=size)


def _frame(axes: Axes, rows: Sequence[str], columns: Sequence[str]) -> None:
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
