"""Methods side by side: their distance to Retrain."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from coun.report.figures.grid import subplots
from coun.report.style import SEED, method_style, styled
from coun.report.table import Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MANY = 10  # bars from which on they are closer to each other
LONGEST = 28  # letters of a label before it goes on in the next line


@styled()
def gaps(
    rows: Sequence[Row], floor: float, *, points: Mapping[str, Sequence[float]] | None = None
) -> Figure:
    """Draw the average gap to Retrain of each method, with its standard deviation, as bars.

    Args:
        rows: of `tabulate`; those of Retrain, and those without a gap, are left out.
        floor: the gap between two Retrains in points, drawn as a line; NaN for no line.
        points: by method the values behind a mean, drawn as circles.

    >>> from coun.report import tabulate
    >>> rows = tabulate({"FT": [{"average_gap": 1.0}, {"average_gap": 3.0}]})
    >>> [float(bar.get_width()) for bar in gaps(rows, floor=0.7).axes[0].patches]
    [2.0]
    """
    shown = [r for r in rows if "average_gap" in r.cells and not r.name.startswith("Retrain")]
    figure, (axes,) = subplots((7, (0.55 if len(shown) < MANY else 0.36) * len(shown) + 1.2))
    for place, row in enumerate(reversed(shown)):
        cell, style = row.cells["average_gap"], method_style(row.name)
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
        axes.plot(dots, [place] * len(dots), **SEED)
        end = max([cell.mean + (cell.std or 0), *dots])
        axes.text(end, place, f"  {cell.mean:.2f}", va="center")
    if not math.isnan(floor):
        axes.axvline(floor, color="black", linestyle="--", linewidth=1)
    names = [textwrap.fill(row.name, LONGEST) for row in reversed(shown)]
    axes.set_yticks(range(len(shown)), names)
    axes.set_xlabel("average gap to Retrain, points\n(0 = the same as Retrain)")
    axes.margins(x=0.15)
    axes.set_xlim(left=0)
    if not math.isnan(floor):
        # On the side of the line that has more room.
        side = "left" if floor < sum(axes.get_xlim()) / 2 else "right"
        words, top = " Retrain against Retrain ", len(shown) - 0.45
        axes.text(floor, top, words, ha=side, va="bottom", fontsize=9)
    axes.set_ylim(-0.6, len(shown))
    return figure
