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
from coun.report.table import COLUMNS, Row

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


@dataclass
class Section:
    """One scenario of a report."""

    title: str
    lead: str
    rows: Sequence[Row] = ()
    pictures: Sequence[Picture] = ()
    notes: Sequence[str] = field(default_factory=list)


def write_report(path: Path, title: str, lead: str, sections: Sequence[Section], made: str) -> None:
    """Write the page to *path*, atomically. *made* tells command, machine and date."""
    template = PAGE.get_template("report.html")
    text = template.render(title=title, lead=lead, sections=sections, columns=COLUMNS, made=made)
    write_text(path, text)
