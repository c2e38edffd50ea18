"""One self-contained page: tables, pictures and how they were made; no network, no script."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib.pyplot as plt
from jinja2 import Environment, PackageLoader
from matplotlib.figure import Figure

from coun.files import write_text
from coun.report.table import Grid

PAGE = Environment(loader=PackageLoader("coun.report"), autoescape=True, trim_blocks=True)


@dataclass
class Picture:
    """A figure with the sentence that says what to look for."""

    figure: Figure
    caption: str

    @property
    def data(self) -> str:
        """The figure as the text of an inline PNG; the figure is closed."""
        buffer = io.BytesIO()
        self.figure.savefig(buffer, format="png")
        plt.close(self.figure)
        return base64.b64encode(buffer.getvalue()).decode()


LEGEND = (
    "RA retain accuracy, UA unlearn accuracy (100 minus the accuracy on the forget set), TA test "
    "accuracy, MIA membership-inference efficacy (percent of forget samples an attacker takes "
    "for never trained on), in percent; gap: mean distance to Retrain over the four, in points; "
    'cost: seconds over Retrain\'s; "Retrain again" is Retrain with another seed. No number is '
    "good because it is high or low, only because it is near Retrain's."
)


@dataclass
class Section:
    """A part of a page."""

    title: str
    lead: str
    tables: Sequence[Grid] = ()
    pictures: Sequence[Picture] = ()
    notes: Sequence[str] = field(default_factory=list)


def write_report(
    path: Path,
    title: str,
    lead: str,
    sections: Sequence[Section],
    made: str,
    *,
    headline: str = "",
    failures: Sequence[str] = (),
    legend: str = LEGEND,
) -> None:
    """Write the page to *path*, atomically.

    Args:
        made: tells command, machine and date.
        headline: one sentence, set large above everything.
        failures: what is missing on the page, and why.
        legend: at the foot, what the columns mean.
    """
    text = PAGE.get_template("report.html").render(
        title=title,
        lead=lead,
        sections=sections,
        made=made,
        headline=headline,
        failures=failures,
        legend=legend,
    )
    write_text(path, text)
