"""Tables, pictures and the self-contained page."""

from coun.report.audit import write_audit
from coun.report.html import Picture, Section, Table, write_report
from coun.report.table import Cell, Row, markdown, tabulate

__all__ = [
    "Cell",
    "Picture",
    "Row",
    "Section",
    "Table",
    "markdown",
    "tabulate",
    "write_audit",
    "write_report",
]
