"""What the paper printed, beside what a bench found; and where print contradicts itself."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from scipy import stats

from coun.bench.experiment import Cut, describe
from coun.bench.plan import RETRAIN
from coun.bench.tables import Block, Line
from coun.errors import CounError
from coun.metrics import GAP_METRICS, columns
from coun.report.style import method_style

SHIPPED = files("coun.bench") / "published" / "coun_neurips_2025.csv"
SEEDS = 10  # trials behind every printed value (CoUn, section 4.1)
ROUNDING = 0.015  # a gap of four differences of values rounded to 0.01, itself rounded
PRINTED = {
    "retain_accuracy": "retain_acc",
    "unlearn_accuracy": "unlearn_acc",
    "test_accuracy": "test_acc",
    "mia_efficacy": "mia",
}


@dataclass(frozen=True)
class Published:
    """One printed row: values with standard deviations, percent; its gap; its PFLOPs."""

    table: str
    setting: tuple[str, str, str, str]  # dataset, model, scenario, percent
    method: str
    module: bool
    values: Mapping[str, float]
    stds: Mapping[str, float]
    gap: float
    pflops: float


@dataclass(frozen=True)
class Compared:
    """One number, theirs and ours. *within* is None where ours has too few seeds to say."""

    where: str
    row: str
    what: str
    published: float
    ours: float
    within: bool | None

    @property
    def difference(self) -> float:
        return self.ours - self.published


def read(path: str | Path | None = None) -> list[Published]:
    """The printed rows; of the CoUn paper unless a file of the same columns is given.

    Raises: CounError if a column is missing or a value is no number; names the line.
    """
    try:
        text = (SHIPPED if path is None else Path(path)).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CounError(f"cannot read published values {path}: {error}") from error
    found = []
    for line, row in enumerate(csv.DictReader(io.StringIO(text)), 2):
        try:
            found.append(
                Published(
                    row["table"],
                    (row["dataset"], row["model"], row["scenario"], row["forget_percent"]),
                    row["method"],
                    row["contrastive_module"] == "yes",
                    {m: float(row[c]) for m, c in PRINTED.items()},
                    {m: float(row[f"{c}_std"]) for m, c in PRINTED.items()},
                    float(row["avg_gap"]),
                    float(row["pflops"]),
                )
            )
        except (KeyError, ValueError, TypeError) as error:
            raise CounError(
                f"published values, line {line}: {error} is missing or no number"
            ) from error
    return found


def recomputed_gap(row: Published, rows: Sequence[Published]) -> float:
    """The gap that a row's printed values have to the printed Retrain of their setting."""
    exact = next((x for x in rows if x.setting == row.setting and x.method == "Retrain"), None)
    if exact is None:
        return math.nan
    return sum(abs(row.values[m] - exact.values[m]) for m in GAP_METRICS) / len(GAP_METRICS)


def inconsistent(rows: Sequence[Published]) -> list[tuple[Published, float]]:
    """Rows whose printed gap does not follow from their own numbers, with the one that does."""
    found = [(row, recomputed_gap(row, rows)) for row in rows]
    return [(row, gap) for row, gap in found if abs(row.gap - gap) > ROUNDING]


def compare(
    found: Mapping[str, Any], tables: Sequence[Block], rows: Sequence[Published]
) -> list[Compared]:
    """Every number of a bench that the paper prints too.

    A bed says with `paper` which rows are its own; a line is matched by its method and the
    module. The gap is that of the seed means, as in print. A value is within the combined
    interval if a 95% Welch interval of the difference of means holds 0, with the paper's
    standard deviations over ten trials.
    """
    beds = {bed["name"]: bed["paper"] for bed in found["config"]["bed"] if bed["paper"]}
    scenarios = {describe(Cut(one)): one for one in found["config"]["scenario"]}
    compared: list[Compared] = []
    for block in tables:
        if block.bed not in beds or block.scenario not in scenarios or block.stage > 1:
            continue
        request = scenarios[block.scenario]
        names = (
            ("random", f"{100 * request['fraction']:.0f}")
            if request["kind"] == "random"
            else (f"class:{request.get('name')}", "10")
        )
        setting = (beds[block.bed]["dataset"], beds[block.bed]["model"], *names)
        for line in block.shown:
            compared += _line(block, line, [row for row in rows if row.setting == setting])
    return compared


def _line(block: Block, line: Line, rows: Sequence[Published]) -> Iterator[Compared]:
    if line.role not in ("method", RETRAIN) or line.varied:
        return
    fine = line.module and line.method in ("coun", "finetune")  # two names of CoUn
    name, module = method_style("coun" if fine else line.method).label, line.module and not fine
    for row in rows:
        if (row.method, row.module) != (name, module):
            continue
        for metric in block.metrics:
            cell = line.metrics[metric]
            within = _within(row, metric, cell.mean, cell.std, cell.runs)
            values = (row.values[metric], cell.mean)
            yield Compared(block.title, line.name, columns()[metric].label, *values, within)
        if line.role != RETRAIN:
            yield Compared(block.title, line.name, "gap", row.gap, line.gap_of_means, None)
        paper = line.costs["paper_flops"] / 1e15
        yield Compared(block.title, line.name, "PFLOP", row.pflops, paper, None)


def _within(row: Published, metric: str, mean: float, std: float | None, runs: int) -> bool | None:
    if std is None:
        return None
    theirs, ours = row.stds[metric] ** 2 / SEEDS, std**2 / runs
    if theirs + ours == 0:
        return bool(mean == row.values[metric])
    freedom = (theirs + ours) ** 2 / (theirs**2 / (SEEDS - 1) + ours**2 / (runs - 1))
    reach = stats.t.ppf(0.975, freedom) * math.sqrt(theirs + ours)
    return bool(abs(mean - row.values[metric]) <= reach)


HEADER = ["setting", "method", "", "paper", "ours", "difference", "within 95%"]


def texts(one: Compared) -> list[str]:
    """One comparison as a table's row."""
    within = {True: "yes", False: "no", None: ""}[one.within]
    values = (f"{one.published:.2f}", f"{one.ours:.2f}", f"{one.difference:+.2f}")
    return [one.where, one.row, one.what, *values, within]


def contradictions(rows: Sequence[Published]) -> list[list[str]]:
    """The rows of `inconsistent` as text: where, method, printed, recomputed."""
    return [
        [
            f"Table {row.table}: {', '.join(row.setting[:3])} {row.setting[3]}%",
            row.method + (" + CL" if row.module else ""),
            f"{row.gap:.2f}",
            f"{gap:.2f}",
        ]
        for row, gap in inconsistent(rows)
    ]
