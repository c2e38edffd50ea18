"""Methods side by side: distance to Retrain."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from coun.report.style import RC, look
from coun.report.table import Row


def gaps(rows: Sequence[Row], floor: float) -> Figure:
    """Average gap to Retrain per method, with its spread, beside the Retrain-to-Retrain *floor*."""
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
            axes.text(cell.mean + (cell.std or 0), place, f"  {cell.mean:.2f}", va="center")
        axes.axvline(floor, color="black", linestyle="--", linewidth=1)
        axes.text(floor, len(shown) - 0.45, " Retrain against Retrain", va="bottom", fontsize=9)
        axes.set_yticks(range(len(shown)), [r.name for r in reversed(shown)])
        axes.set_xlabel("average gap to Retrain, points (0 = indistinguishable)")
        axes.margins(x=0.15)
        axes.set_xlim(left=0)
    return figure
