"""Tables, pictures and the self-contained page."""

from coun.report.audit import write_audit
from coun.report.html import Section, write_report
from coun.report.picture import Picture
from coun.report.table import Cell, Grid, Row, tabulate

__all__ = [
    "Cell",
    "Grid",
    "Picture",
    "Row",
    "Section",
    "tabulate",
    "write_audit",
    "write_report",
]
