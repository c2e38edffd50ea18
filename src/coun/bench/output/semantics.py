"""Tables of where the forget rows of one class go: CoUn's Tables 1, 4, 5 and 6."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from statistics import fmean
from typing import Any

from coun.bench.output.published import Compared, method_name, printed_setting
from coun.bench.output.results import records_of
from coun.bench.spec.planned import CANDIDATE, RETRAIN
from coun.errors import CounError
from coun.report import Cell, Grid

PRINTED = files("coun.bench") / "paper_values" / "coun_neurips_2025_semantics.csv"
SHOWN = 4  # classes in the columns where the config names none, as in the paper
QUANTITIES = {
    "predicted": ("% predicted as", 2),
    "distance": ("distance to the centroid of", 3),
}


@dataclass(frozen=True)
class SemanticsRow:
    """One model of a table over its seeds.

    Args:
        values: by class; a class without a value on some seed is left out.
        difference: the mean |difference| to the Retrain of the same seed over the classes.
        difference_of_means: the same of the means over seeds, as the paper computes it.
    """

    name: str
    role: str
    method: str
    module: bool
    values: Mapping[str, Cell]
    difference: Cell | None
    difference_of_means: float


@dataclass(frozen=True)
class SemanticsTable:
    """One quantity ("predicted" or "distance") of one table of a bench."""

    quantity: str
    of: str
    workload: str
    scenario: str
    classes: tuple[str, ...]
    rows: tuple[SemanticsRow, ...]

    @property
    def grid(self) -> Grid:
        """The table as text."""
        title, digits = QUANTITIES[self.quantity]
        header = [f"{self.of}: {title}", *self.classes, "avg. difference", "of means"]
        body = []
        for row in self.rows:
            cells = [row.values[c].text(digits) if c in row.values else "" for c in self.classes]
            difference = row.difference.text(digits) if row.difference else ""
            mean = row.difference_of_means
            of_means = "" if math.isnan(mean) else f"{mean:.{digits}f}"
            body.append([row.name, *cells, difference, of_means])
        return Grid.of(header, body)


def semantics_tables(
    results: Mapping[str, Any], workload: str, scenario: str, stage: int
) -> list[SemanticsTable]:
    """Make the tables of one workload, scenario and stage; none where the config asks for none."""
    records = [
        record
        for record in records_of(results["rows"], workload, scenario, stage)
        if record.get("semantics", {}).get("rows") and record["role"] != CANDIDATE
    ]
    if not records:
        return []
    of = records[0]["semantics"]["of"]
    return [
        SemanticsTable(quantity, of, workload, scenario, classes, _rows(records, quantity, classes))
        for quantity in QUANTITIES
        if (classes := _classes(results, records, quantity))
    ]


def _classes(
    results: Mapping[str, Any], records: Sequence[Mapping[str, Any]], quantity: str
) -> tuple[str, ...]:
    """The classes of the config that have a value, or those that Retrain predicts most often."""
    retrains = [r for r in records if r["role"] == RETRAIN] or records
    names = tuple(results["config"]["semantics"]["classes"])
    if not names:
        shares = [record["semantics"]["predicted"] for record in retrains]
        names = tuple(sorted(shares[0], key=lambda c: -fmean(x[c] for x in shares))[:SHOWN])
    return tuple(c for c in names if any(c in r["semantics"][quantity] for r in retrains))


def _rows(
    records: Sequence[Mapping[str, Any]], quantity: str, classes: Sequence[str]
) -> tuple[SemanticsRow, ...]:
    of_retrain = {r["seed"]: r["semantics"][quantity] for r in records if r["role"] == RETRAIN}
    means = {
        c: fmean(retrain[c] for retrain in of_retrain.values())
        for c in classes
        if of_retrain and all(c in retrain for retrain in of_retrain.values())
    }
    rows = []
    for name in dict.fromkeys(record["row"] for record in records):
        group = [record for record in records if record["row"] == name]
        cells = {
            c: Cell.of([r["semantics"][quantity][c] for r in group])
            for c in classes
            if all(c in r["semantics"][quantity] for r in group)
        }
        paired = [
            fmean(abs(r["semantics"][quantity][c] - of_retrain[r["seed"]][c]) for c in cells)
            for r in group
            if r["seed"] in of_retrain and cells.keys() <= of_retrain[r["seed"]].keys() and cells
        ]
        shared = [abs(cells[c].mean - means[c]) for c in cells if c in means]
        rows.append(
            SemanticsRow(
                name,
                group[0]["role"],
                group[0]["method"],
                group[0]["module"],
                cells,
                Cell.of(paired) if paired else None,
                fmean(shared) if shared else math.nan,
            )
        )
    return tuple(rows)


def compare(results: Mapping[str, Any], tables: Sequence[SemanticsTable]) -> list[Compared]:
    """Set the printed values of Tables 1, 4, 5 and 6 beside those of *tables*."""
    printed = _printed()
    compared = []
    for table in tables:
        setting = printed_setting(results, table.workload, table.scenario)
        if setting is None:
            continue
        for row in table.rows:
            key = (
                *setting,
                table.of,
                table.quantity,
                method_name(row.role, row.method, row.module),
            )
            values = printed.get(key, {})
            title = f"{table.workload}, {table.scenario}"
            for name, value in values.items():
                if name == "average difference":
                    measured: float | None = row.difference_of_means
                else:
                    measured = row.values[name].mean if name in row.values else None
                if measured is not None and not math.isnan(measured):
                    what = f"{table.of}: {QUANTITIES[table.quantity][0]} {name}"
                    what = what if name in row.values else f"{table.of}: {name}"
                    compared.append(Compared(title, row.name, what, value, measured, None))
    return compared


def _printed() -> dict[tuple[str, ...], dict[str, float]]:
    """By setting, class, quantity and method: the printed values by class."""
    values: dict[tuple[str, ...], dict[str, float]] = {}
    keys = ("dataset", "model", "scenario", "forget_percent", "of", "quantity", "method")
    text = PRINTED.read_text(encoding="utf-8")
    for line, row in enumerate(csv.DictReader(io.StringIO(text)), 2):
        try:
            values.setdefault(tuple(row[key] for key in keys), {})[row["class"]] = float(
                row["value"]
            )
        except (KeyError, ValueError) as error:
            raise CounError(f"{PRINTED.name}, line {line}: {error} is missing") from error
    return values
