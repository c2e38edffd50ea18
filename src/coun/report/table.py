"""The metrics of several runs as one table: mean, standard deviation and number of runs."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from coun.metrics import Metric, columns


@dataclass(frozen=True)
class Cell:
    """A metric over several runs.

    Attributes:
        mean: over the runs, in the unit of the metric.
        std: the sample standard deviation; None for one run.
        runs: their number.

    >>> str(Cell.of([1.0, 2.5, 4.0])), str(Cell.of([3.0]))
    ('2.50±1.50', '3.00')
    """

    mean: float
    std: float | None
    runs: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Cell:
        """Make the cell of the values of all runs."""
        std = statistics.stdev(values) if len(values) > 1 else None
        return cls(statistics.fmean(values), std, len(values))

    def text(self, digits: int = 2) -> str:
        """Write the mean, and the deviation if there is one, with *digits* decimals."""
        return f"{self.mean:.{digits}f}" + ("" if self.std is None else f"±{self.std:.{digits}f}")

    def __str__(self) -> str:
        return self.text()


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        name: of the method.
        cells: by name of the metric; one without values is missing.

    >>> Row("FT", {"average_gap": Cell.of([1.0, 3.0])}).runs
    2
    """

    name: str
    cells: Mapping[str, Cell]

    @property
    def runs(self) -> int:
        """The largest number of runs behind a cell."""
        return max((cell.runs for cell in self.cells.values()), default=0)


def tabulate(results: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Row]:
    """Make one row for each method from the metrics of its runs.

    Args:
        results: by name of the method what `coun.evaluate` returned for each seed. The metrics
            of `coun.metrics.columns` are read; one that is missing or None is skipped.

    >>> [row] = tabulate({"FT": [{"average_gap": 1.0}, {"average_gap": 3.0}]})
    >>> row.cells["average_gap"].mean
    2.0
    """
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
    """A table as text: a header, and rows that each have a mark.

    The first text of a row is its name. Marks are "best" and "tied", "bad" and "warn" (in colour
    on a page; the text must say it as well), or nothing. The caption says what the table shows,
    and the note below the table how to read it. A table of words, or of facts without a header, is
    aligned to the left, others to the right.

    >>> print(Grid.of(["", "gap"], [["FT", "2.00"]]).markdown, end="")
    |  | gap |
    | --- | ---: |
    | FT | 2.00 |
    """

    header: Sequence[str]
    rows: Sequence[tuple[str, Sequence[str]]]
    caption: str = ""
    words: bool = False
    note: str = ""

    @classmethod
    def of(
        cls,
        header: Sequence[str],
        rows: Iterable[Sequence[str]],
        caption: str = "",
        *,
        words: bool = False,
        note: str = "",
    ) -> Grid:
        """Make a table whose rows have no marks."""
        return cls(header, [("", texts) for texts in rows], caption, words, note)

    @classmethod
    def of_runs(cls, rows: Sequence[Row], *, percent_digits: int | None = None) -> Grid:
        """Make a table of what `tabulate` returned; a metric without any value has no column.

        Args: percent_digits: decimals of metrics in percent; by default those of each metric.
        """
        used = [metric for name, metric in columns().items() if any(name in r.cells for r in rows)]

        def text(row: Row, metric: Metric) -> str:
            cell = row.cells.get(metric.name)
            if cell is None:
                return ""
            if metric.unit == "%" and percent_digits is not None:
                return cell.text(percent_digits)
            return cell.text(metric.digits)

        return cls.of(
            ["", *(metric.label for metric in used), "runs"],
            [[row.name, *(text(row, metric) for metric in used), str(row.runs)] for row in rows],
        )

    def without_empty(self, *names: str) -> Grid:
        """The same table without those of the columns *names* in which no row has a text.

        >>> Grid.of(["", "gap", "p"], [["FT", "2.00", ""]]).without_empty("p").header
        ['', 'gap']
        """
        kept = [
            place
            for place, name in enumerate(self.header)
            if name not in names or any(texts[place] for _, texts in self.rows)
        ]
        rows = [(mark, [texts[place] for place in kept]) for mark, texts in self.rows]
        return replace(self, header=[self.header[place] for place in kept], rows=rows)

    @property
    def markdown(self) -> str:
        """The table in Markdown; the name of the best row is bold, a tied one has a dagger."""
        form = {"best": "**{}**", "tied": "{} †"}
        facts = self.words or not any(self.header)
        lines = [self.header, ["---", *["---" if facts else "---:"] * (len(self.header) - 1)]]
        lines += [[form.get(mark, "{}").format(texts[0]), *texts[1:]] for mark, texts in self.rows]
        return "".join(f"| {' | '.join(line)} |\n" for line in lines)
