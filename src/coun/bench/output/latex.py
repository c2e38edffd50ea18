"""Tables for a paper: LaTeX with booktabs, each fitted to the width of the page."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from coun.bench.output.result_table import ResultRow, ResultTable
from coun.bench.spec.planned import METHOD, RETRAIN
from coun.errors import CounError, counted, unknown
from coun.metrics import Metric
from coun.report import Grid

Brackets = Literal["absolute", "signed", "none"]
HEAD = "% needs \\usepackage{booktabs} and \\usepackage{adjustbox}"
# Columns besides the metrics, by the name that a user gives: the head, and the value of a row.
OTHERS: dict[str, tuple[str, Callable[[ResultRow], float]]] = {
    "p": ("$p$", lambda row: row.p),
    "flops": ("FLOPs", lambda row: row.costs["flops_ratio"]),
    "paper_flops": ("FLOPs (paper)", lambda row: row.costs["paper_flops_ratio"]),
    "seconds": ("s", lambda row: row.costs["seconds"]),
    "runs": ("runs", lambda row: row.runs),
}
DIGITS = {"p": 3, "flops": 3, "paper_flops": 3, "seconds": 1, "runs": 0}


@dataclass(frozen=True)
class Latex:
    """How tables are written for a paper.

    Args:
        columns: metrics by name or label, "gap", and the names of `OTHERS`, in this order; None
            means the metrics of the bench, the gap and the operations.
        digits: decimals of metrics and gap; None means those of each metric.
        brackets: what stands in brackets behind a metric: the absolute or the signed mean
            difference to Retrain, or nothing.
        label: what the labels of the tables begin with.
    """

    columns: tuple[str, ...] | None = None
    digits: int | None = None
    brackets: Brackets = "absolute"
    label: str = "tab:"

    def __post_init__(self) -> None:
        if self.brackets not in ("absolute", "signed", "none"):
            raise unknown("kind of brackets", self.brackets, ("absolute", "signed", "none"))
        if self.digits is not None and not 0 <= self.digits <= 6:
            raise CounError(f"digits of LaTeX tables is {self.digits}; expected 0..6")
        if self.columns is not None and not self.columns:
            raise CounError("no column is named for the LaTeX tables; expected at least one")
        if unfit := re.search(r"[\\\\{}%#~^$&\s]", self.label):
            raise CounError(
                f"the label '{self.label}' holds {unfit[0]!r}, which LaTeX does not take in a "
                "label; expected letters, digits and signs such as - : _"
            )


def latex(tables: Sequence[ResultTable], how: Latex | None = None) -> str:
    """Write the tables of a bench for a paper.

    There is one table of all workloads and scenarios, where there are several; then each alone,
    with the tests of the module where methods have it. Every table has a label, and is scaled down
    where it is wider than the page.

    Raises: CounError for a column that the bench does not have.
    """
    how = how or Latex()
    parts = [HEAD]
    if len(tables) > 1:
        parts.append(_combined(tables, how))
    for table in tables:
        parts.append(_alone(table, how))
        if table.module:
            parts.append(_module(table, how))
    return "\n\n".join(parts) + "\n"


def latex_of_grid(grid: Grid, caption: str, label: str) -> str:
    """Write any table of words and numbers; the caption is given as plain text."""
    rows = ["  " + " & ".join(map(escape, texts)) + r" \\" for _, texts in grid.rows]
    header = [escape(text) for text in grid.header]
    return _floating(header, rows, escape(caption), label, words=grid.words)


def _combined(tables: Sequence[ResultTable], how: Latex) -> str:
    """All tables below each other in one, with a heading for each."""
    columns = _columns(tables[0], how)
    header = ["Method", *(_head(tables[0], name) for name in columns)]
    rows: list[str] = []
    for number, table in enumerate(tables):
        if number:
            rows.append("  \\midrule")
        heading = f"\\textit{{{escape(table.title)}}}"
        rows += [f"  \\multicolumn{{{len(header)}}}{{l}}{{{heading}}} \\\\", "  \\midrule"]
        rows += _rows(table, columns, how)
    seeds = {len(table.seeds) for table in tables}
    over = f" over {counted(seeds.pop(), 'seed')}" if len(seeds) == 1 else ""
    caption = f"Mean and standard deviation{over}.{_brackets(how)} $f$: reads forget rows."
    return _floating(header, rows, caption, f"{how.label}all")


def _alone(table: ResultTable, how: Latex) -> str:
    columns = _columns(table, how)
    header = ["Method", *(_head(table, name) for name in columns)]
    seeds = counted(len(table.seeds), "seed")
    caption = (
        f"{escape(table.title)}. Mean and standard deviation over {seeds}.{_brackets(how)} "
        f"{_marks(table)} $f$: reads forget rows."
    )
    return _floating(header, _rows(table, columns, how), caption, how.label + slug(table.title))


def _module(table: ResultTable, how: Latex) -> str:
    """Each method without and with the contrastive module."""
    header = ["Method", "Gap without", "Gap with", "Improvement", "$p$", "$p$ (Holm)"]
    rows = []
    for test in table.module:
        values = [
            f"${test.without:.{_gap_digits(how)}f}$",
            f"${test.with_module:.{_gap_digits(how)}f}$",
            "" if math.isnan(test.improvement) else f"${test.improvement:.1f}\\%$",
            *("" if math.isnan(p) else f"${p:.4f}$" for p in (test.p, test.corrected)),
        ]
        rows.append("  " + " & ".join([escape(test.base), *values]) + r" \\")
    caption = (
        f"{escape(table.title)}: each method without and with the contrastive module. "
        "$p$: paired t test over seeds, with Holm's correction."
    )
    label = f"{how.label}module-{slug(table.title)}"
    return _floating(header, rows, caption, label)


def _floating(
    header: Sequence[str], rows: Sequence[str], caption: str, label: str, *, words: bool = False
) -> str:
    align = ("l" if words else "r") * (len(header) - 1)
    return (
        "\\begin{table}\n  \\centering\n"
        f"  \\caption{{{caption}}}\n  \\label{{{label}}}\n"
        f"  \\begin{{adjustbox}}{{max width=\\linewidth}}\n  \\begin{{tabular}}{{l{align}}}\n"
        "  \\toprule\n  "
        + " & ".join(header)
        + " \\\\\n  \\midrule\n"
        + "\n".join(rows)
        + "\n  \\bottomrule\n  \\end{tabular}\n  \\end{adjustbox}\n\\end{table}"
    )


def _columns(table: ResultTable, how: Latex) -> list[str]:
    """The names of the columns: metrics, "gap" and names of `OTHERS`."""
    if how.columns is None:
        return [*table.metrics, "gap", "flops"]
    labels = {metric.label.lower(): name for name, metric in table.metrics.items()}
    available = {*table.metrics, "gap", *OTHERS}
    columns = []
    for column in how.columns:
        name = labels.get(column.lower(), column if column in available else column.lower())
        if name not in available:
            raise unknown("column", column, [*labels, *available])
        if name in columns:
            raise CounError(f"column '{column}' is named twice for the LaTeX tables; name it once")
        columns.append(name)
    return columns


def _head(table: ResultTable, name: str) -> str:
    if name == "gap":
        return "Gap"
    return OTHERS[name][0] if name in OTHERS else escape(table.metrics[name].label)


def _rows(table: ResultTable, columns: Sequence[str], how: Latex) -> list[str]:
    """The lines of a table, with a rule between references and methods."""
    lines = ["  " + " & ".join(_cells(table, row, columns, how)) + r" \\" for row in table.shown]
    references = sum(row.role != METHOD for row in table.shown)
    if 0 < references < len(lines):
        lines.insert(references, "  \\midrule")
    return lines


def _cells(table: ResultTable, row: ResultRow, columns: Sequence[str], how: Latex) -> list[str]:
    cells = [escape(row.name) + ("$^{f}$" if row.reads_forget else "")]
    for name in columns:
        if name == "gap":
            cells.append(_gap(table, row, how))
        elif name in OTHERS:
            value = OTHERS[name][1](row)
            cells.append("" if math.isnan(value) else f"${value:.{DIGITS[name]}f}$")
        else:
            cells.append(_metric(row, table.metrics[name], how))
    return cells


def _metric(row: ResultRow, metric: Metric, how: Latex) -> str:
    cell = row.metrics.get(metric.name)
    if cell is None:
        return ""
    digits = metric.digits if how.digits is None else how.digits
    spread = "" if cell.std is None else f"_{{\\pm {cell.std:.{digits}f}}}"
    distance = ""
    if metric.name in row.differences and row.role != RETRAIN and how.brackets != "none":
        signed = row.differences[metric.name]
        number = (
            f"{signed:+.{digits}f}" if how.brackets == "signed" else f"{abs(signed):.{digits}f}"
        )
        distance = f"\\,({number})"
    return f"${cell.mean:.{digits}f}{spread}{distance}$"


def _gap_digits(how: Latex) -> int:
    return 2 if how.digits is None else how.digits


def _gap(table: ResultTable, row: ResultRow, how: Latex) -> str:
    digits = _gap_digits(how)
    spread = "" if row.gap.std is None else f" \\pm {row.gap.std:.{digits}f}"
    gap = "0" if row.role == RETRAIN else f"{row.gap.mean:.{digits}f}{spread}"
    mark = table.mark(row)
    gap = f"\\mathbf{{{gap}}}" if mark == "best" else gap
    return f"\\underline{{${gap}$}}" if mark == "tied" else f"${gap}$"


def _brackets(how: Latex) -> str:
    if how.brackets == "none":
        return ""
    kind = "signed difference" if how.brackets == "signed" else "distance"
    return f" In brackets: the {kind} to Retrain."


def _marks(table: ResultTable) -> str:
    if not table.can_tell:
        return "No method could be shown not to be the nearest."
    return (
        "Bold: the smallest gap; underlined: not shown to be farther than the nearest method "
        "(sign flips over seeds, corrected for the choice of the nearest, $p \\geq 0.05$)."
    )


def slug(title: str) -> str:
    """*title* as a part of a label or a file name.

    >>> slug("CIFAR-10 ResNet-18, random 10%")
    'cifar-10-resnet-18-random-10'
    """
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


_LATEX = str.maketrans(
    {
        **{sign: "\\" + sign for sign in "&%$#_{}"},
        **{"\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}"},
        **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "\n": " "},
    }
)


def escape(text: str) -> str:
    """*text* as LaTeX prints it: no character of it is a command.

    >>> escape("50%")
    '50\\\\%'
    """
    return text.translate(_LATEX)
