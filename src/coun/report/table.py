"""Runs over seeds as one table: mean, standard deviation and number of runs."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

COLUMNS = {
    "retain_accuracy": "RA",
    "unlearn_accuracy": "UA",
    "test_accuracy": "TA",
    "mia_efficacy": "MIA",
    "average_gap": "gap",
    "cost_ratio": "cost",
}


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

    def __str__(self) -> str:
        return f"{self.mean:.2f}" + ("" if self.std is None else f"±{self.std:.2f}")


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
        for column in COLUMNS:
            values = [run[column] for run in runs if run.get(column) is not None]
            if values:
                cells[column] = Cell.of(values)
        rows.append(Row(name, cells))
    return rows


def markdown(rows: Sequence[Row]) -> str:
    """*rows* as a Markdown table; a column without any value is left out."""
    used = [c for c in COLUMNS if any(c in row.cells for row in rows)]
    lines = [
        "| | " + " | ".join(COLUMNS[c] for c in used) + " | runs |",
        "|---|" + "---:|" * (len(used) + 1),
    ]
    for row in rows:
        cells = (str(row.cells[c]) if c in row.cells else "" for c in used)
        lines.append(f"| {row.name} | " + " | ".join(cells) + f" | {row.runs} |")
    return "\n".join(lines)
