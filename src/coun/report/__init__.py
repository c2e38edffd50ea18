"""Tables, pictures and the self-contained page."""

from coun.report.html import Picture, Section, write_report
from coun.report.table import Cell, Row, markdown, tabulate

__all__ = ["Cell", "Picture", "Row", "Section", "markdown", "tabulate", "write_report"]
