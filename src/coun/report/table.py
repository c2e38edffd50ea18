"""Runs over seeds as one table: mean, standard deviation and number of runs."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from coun.metrics import Metric, columns


@dataclass(frozen=True)
class Cell:
    """A mean over *runs* runs, with the sample standard deviation (None for one run)."""

    mean: float
    std: float | None
    runs: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Cell:
        std = statistics.stdev(values) if len(values) > 1 else None
        return cls(statistics.fmean(values), std, len(values))

    def text(self, digits: int = 2) -> str:
        """Write the mean, and the deviation if there is one, with so many decimals."""
        return f"{self.mean:.{digits}f}" + ("" if self.std is None else f"±{self.std:.{digits}f}")

    def __str__(self) -> str:
        return self.text()


@dataclass(frozen=True)
class Row:
    """One method: its name, and a cell per column that it has values for."""

    name: str
    cells: Mapping[str, Cell]

    @property
    def runs(self) -> int:
        """How many runs the means are of."""
        return max((cell.runs for cell in self.cells.values()), default=0)


def tabulate(results: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Row]:
    """One row per name in *results*, whose value lists the metrics of each seed."""
    rows = []
    for name, runs in results.items():
        cells = {}
        for column in columns():
            values = [run[column] for run in runs if run.get(column) is not None]
            if values:
                cells[column] = Cell.of(values)
        rows.append(Row(name, cells))
    return rows


@dataclass(frozen=True)
class Grid:
    """A table as text: titles, and rows with a mark ("best", "tied" or nothing).

    The first cell of a row is its name.
    """

    header: Sequence[str]
    rows: Sequence[tuple[str, Sequence[str]]]

    @classmethod
    def of(cls, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Grid:
        """Rows without marks."""
        return cls(header, [("", texts) for texts in rows])

    @classmethod
    def of_runs(cls, rows: Sequence[Row]) -> Grid:
        """What `tabulate` gives; a column without any value is left out."""
        used = [metric for name, metric in columns().items() if any(name in r.cells for r in rows)]

        def text(row: Row, metric: Metric) -> str:
            cell = row.cells.get(metric.name)
            return "" if cell is None else cell.text(metric.digits)

        return cls.of(
            ["", *(metric.label for metric in used), "runs"],
            [[row.name, *(text(row, metric) for metric in used), str(row.runs)] for row in rows],
        )

    @property
    def markdown(self) -> str:
        """As Markdown, the name of the best row in bold, ties with a dagger."""
        form = {"best": "**{}**", "tied": "{} †", "": "{}"}
        lines = [self.header, ["---", *["---:"] * (len(self.header) - 1)]]
        lines += [[form[mark].format(texts[0]), *texts[1:]] for mark, texts in self.rows]
        return "".join(f"| {' | '.join(line)} |\n" for line in lines)
