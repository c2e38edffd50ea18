"""One HTML page with tables, pictures and how they were made; it needs no other file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coun.files import write_text
from coun.report.picture import Picture
from coun.report.table import Grid

if TYPE_CHECKING:
    from markupsafe import Markup


def render(template: str, **values: Any) -> str:
    """Return a page: the file *template* of `coun/report/templates`, filled with *values*.

    Values are escaped, so that names of classes and rows are text on the page.
    """
    from jinja2 import Environment, PackageLoader

    pages = Environment(loader=PackageLoader("coun.report"), autoescape=True, trim_blocks=True)
    pages.filters["unbroken"] = _unbroken
    return pages.get_template(template).render(**values)


LEGEND = (
    "RA: retain accuracy. UA: unlearn accuracy (100 minus the accuracy on the forget rows). TA: "
    "test accuracy. MIA: membership-inference efficacy (the share of forget rows that an "
    "attack takes for rows the model was never trained on). All are in percent. Gap: mean "
    "absolute difference to Retrain over these four, in points. Rows: percent of forget rows "
    "for which the model predicts the same class as Retrain. JS: mean Jensen-Shannon divergence "
    "to Retrain on forget rows, in nats. Cost: seconds, divided by those of Retrain. "
    '"Retrain again" is a Retrain with another seed. RA, UA, TA and MIA are not better when they '
    "are higher or lower, only when they are nearer to Retrain."
)


@dataclass
class Section:
    """A part of a page: title, lead and first table, then pictures, other tables, notes, commands.

    >>> Section("Results", "Three seeds.").notes
    []
    """

    title: str
    lead: str
    tables: Sequence[Grid] = ()
    pictures: Sequence[Picture] = ()
    notes: Sequence[str] = field(default_factory=list)
    commands: Sequence[str] = ()


def write_report(
    path: Path,
    title: str,
    lead: str,
    sections: Sequence[Section],
    made: str,
    *,
    headline: str = "",
    alarm: bool = False,
    failures: Sequence[str] = (),
    warnings: Sequence[str] = (),
    legend: str = LEGEND,
) -> None:
    """Write one HTML page that needs no other file, no network and no script.

    Args:
        path: of the page; it is written completely or not at all.
        title, lead: at the top of the page.
        sections: the parts of the page, in order.
        made: the command, the machine and the date, at the foot of the page.
        headline: one sentence in large type above everything else.
        alarm: whether the headline is bad news, and red.
        failures: one line for each experiment that is missing on the page.
        warnings: why the results must not be believed, in a box at the top.
        legend: the meaning of the columns, at the foot of the page.

    Raises: CounError if the file cannot be written.

    >>> import tempfile
    >>> page = Path(tempfile.mkdtemp()) / "report.html"
    >>> write_report(page, "Title", "Lead", [Section("Results", "Three seeds.")], "Made today.")
    >>> "Three seeds." in page.read_text()
    True
    """
    text = render(
        "report.html",
        title=title,
        lead=lead,
        sections=sections,
        made=made,
        headline=headline,
        alarm=alarm,
        failures=failures,
        warnings=warnings,
        legend=legend,
    )
    write_text(path, text)


def _unbroken(text: str) -> Markup:
    """Escape *text*, and keep a line from ending inside a date or an option such as --method."""
    from markupsafe import Markup, escape

    whole = r"\d{4}-\d\d-\d\d|--[a-z][a-z-]*"
    return Markup(re.sub(whole, r'<span class="whole">\g<0></span>', str(escape(text))))
