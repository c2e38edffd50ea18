"""Methods side by side: distance to Retrain."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from coun.report.style import RC, look
from coun.report.table import Row


def gaps(
    rows: Sequence[Row], floor: float, *, points: Mapping[str, Sequence[float]] | None = None
) -> Figure:
    """Average gap to Retrain per method, with its spread, beside the Retrain-to-Retrain *floor*.

    Args:
        floor: NaN where it was not measured.
        points: by name the values that a mean is of, drawn as dots.
    """
    shown = [r for r in rows if "average_gap" in r.cells and not r.name.startswith("Retrain")]
    with plt.rc_context(RC):
        figure, axes = plt.subplots(figsize=(7, 0.55 * len(shown) + 1.2))
        for place, row in enumerate(reversed(shown)):
            cell, style = row.cells["average_gap"], look(row.name)
            axes.barh(
                place,
                cell.mean,
                xerr=cell.std or 0,
                capsize=3,
                height=0.6,
                color=style.colour,
                hatch=style.hatch,
                edgecolor="white",
            )
            dots = (points or {}).get(row.name, ())
            axes.plot(dots, [place] * len(dots), "k.", markersize=4, alpha=0.6)
            end = max([cell.mean + (cell.std or 0), *dots])
            axes.text(end, place, f"  {cell.mean:.2f}", va="center")
        if not math.isnan(floor):
            axes.axvline(floor, color="black", linestyle="--", linewidth=1)
            axes.text(floor, len(shown) - 0.45, " Retrain against Retrain", va="bottom", fontsize=9)
        axes.set_yticks(range(len(shown)), [r.name for r in reversed(shown)])
        axes.set_xlabel("average gap to Retrain, points (0 = indistinguishable)")
        axes.margins(x=0.15)
        axes.set_xlim(left=0)
    return figure
