"""Tables: means, spreads and counts against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from coun.report import Cell, Grid, tabulate

GAPS = [1.0, 2.5, 4.0]


def test_a_cell_is_mean_and_sample_deviation() -> None:
    cell = Cell.of(GAPS)
    assert (cell.mean, cell.runs) == (pytest.approx(np.mean(GAPS)), 3)
    assert cell.std == pytest.approx(np.std(GAPS, ddof=1))
    assert str(cell) == "2.50±1.50"
    assert str(Cell.of([3.0])) == "3.00"


def test_a_missing_metric_leaves_its_cell_empty() -> None:
    rows = tabulate(
        {
            "Retrain": [{"retain_accuracy": 99.0, "average_gap": None}],
            "FT": [{"retain_accuracy": 98.0, "average_gap": g} for g in GAPS],
        }
    )
    assert "average_gap" not in rows[0].cells
    assert [r.runs for r in rows] == [1, 3]
    assert Grid.of_runs(rows).markdown.splitlines() == [
        "|  | RA | gap | runs |",
        "| --- | ---: | ---: | ---: |",
        "| Retrain | 99.00 |  | 1 |",
        "| FT | 98.00±0.00 | 2.50±1.50 | 3 |",
    ]
    short = Grid.of_runs(rows, percent_digits=1).markdown
    assert "| FT | 98.0±0.0 | 2.50±1.50 | 3 |" in short  # the gap is in points
