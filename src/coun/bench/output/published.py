"""The values that the paper printed, beside those of a bench; and contradictions within them."""

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

from coun.bench.output.result_table import ResultRow, ResultTable
from coun.bench.spec.forget import label
from coun.bench.spec.planned import FLOOR, METHOD, ORIGINAL, RETRAIN
from coun.data.requests import Class, Random, Request, parse_recorded
from coun.errors import CounError
from coun.methods import without_contrast
from coun.methods.coun import CoUn
from coun.methods.finetune import FineTune
from coun.metrics import GAP_METRICS
from coun.report.style import method_style

SHIPPED = files("coun.bench") / "paper_values" / "coun_neurips_2025.csv"
SEEDS = 10  # trials behind every printed value (CoUn, section 4.1)
MODULE = " + CL"  # what a label adds for the module
ROUNDING = 0.015  # a rounded gap, computed from values that were rounded to 0.01 before
PRINTED = {
    "retain_accuracy": "retain_acc",
    "unlearn_accuracy": "unlearn_acc",
    "test_accuracy": "test_acc",
    "mia_efficacy": "mia",
}


@dataclass(frozen=True)
class Published:
    """One printed row.

    Args:
        setting: data set, model, scenario and percentage of forgotten rows.
        values, stds: mean and standard deviation by metric, percent.
        gap: the printed gap, points.
        pflops: the printed cost, 1e15 operations.
    """

    table: str
    setting: tuple[str, str, str, str]
    method: str
    module: bool
    values: Mapping[str, float]
    stds: Mapping[str, float]
    gap: float
    pflops: float


@dataclass(frozen=True)
class Compared:
    """One number, as published and as measured.

    *within* says whether the combined 95% interval of the difference contains 0; None where
    the bench has too few seeds to tell.
    """

    table: str
    row: str
    metric: str
    published: float
    measured: float
    within: bool | None

    @property
    def difference(self) -> float:
        """Measured minus published."""
        return self.measured - self.published


def read(path: str | Path | None = None) -> list[Published]:
    """Read printed rows: those of the CoUn paper, or those of a file with the same columns.

    Raises: CounError that names the line if a column is missing or a value is not a number.

    >>> len(read())
    110
    """
    try:
        text = (SHIPPED if path is None else Path(path)).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CounError(f"cannot read published values {path}: {error}") from error
    rows = []
    for line, row in enumerate(csv.DictReader(io.StringIO(text)), 2):
        try:
            rows.append(
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
                f"published values, line {line}: {error} is missing or not a number; the columns "
                f"are those of {SHIPPED.name}"
            ) from error
    return rows


def recomputed_gap(row: Published, rows: Sequence[Published]) -> float:
    """The gap between the printed values of a row and the printed Retrain of its setting."""
    retrain = next((x for x in rows if x.setting == row.setting and x.method == "Retrain"), None)
    if retrain is None:
        return math.nan
    return sum(abs(row.values[m] - retrain.values[m]) for m in GAP_METRICS) / len(GAP_METRICS)


def inconsistent(rows: Sequence[Published]) -> list[tuple[Published, float]]:
    """List the rows whose printed gap contradicts their own numbers, with the recomputed gap."""
    pairs = [(row, recomputed_gap(row, rows)) for row in rows]
    return [(row, gap) for row, gap in pairs if abs(row.gap - gap) > ROUNDING]


def compare(
    results: Mapping[str, Any], tables: Sequence[ResultTable], rows: Sequence[Published]
) -> list[Compared]:
    """Compare every number of a bench that the paper prints too.

    A workload says by its key `paper` which printed rows belong to it; within them, a row is
    matched by its method and the module. The gap is that of the means over seeds, as in print.
    The interval is Welch's, of the difference of means, with the paper's standard deviations
    over ten trials.
    """
    compared: list[Compared] = []
    for table in tables:
        setting = printed_setting(results, table.workload, table.scenario)
        if setting is None or table.stage > 1:
            continue
        printed = [row for row in rows if row.setting == setting]
        for row in table.shown:
            compared += _compare_row(table, row, printed)
        by_method = improvements(rows, setting)
        for test in table.module:
            if test.name in by_method and not math.isnan(test.improvement):
                values = (by_method[test.name], test.improvement)
                words = "gap made smaller by the module, %"
                compared.append(Compared(table.title, test.base, words, *values, None))
    return compared


def printed_setting(
    results: Mapping[str, Any], workload: str, scenario: str
) -> tuple[str, str, str, str] | None:
    """Return the `Published.setting` of a table; None where the paper has no such table."""
    papers = {w["name"]: w["paper"] for w in results["config"]["workload"]}
    requests = map(parse_recorded, results["config"]["scenario"])
    request = next((request for request in requests if label(request) == scenario), None)
    if request is None or not (paper := papers.get(workload)):
        return None
    return paper["dataset"], paper["model"], *printed_scenario(request)


def printed_scenario(request: Request) -> tuple[str, str]:
    """Scenario and percentage, as the file of printed values names them; empty for others."""
    if isinstance(request, Random):
        return "random", f"{100 * request.fraction:.0f}"
    return (f"class:{request.name}", "10") if isinstance(request, Class) else ("", "")


def _compare_row(
    table: ResultTable, row: ResultRow, printed: Sequence[Published]
) -> Iterator[Compared]:
    if row.role not in (METHOD, RETRAIN) or row.varied:
        return
    name = method_name(row.role, row.method, row.module)
    for published in printed:
        if published.method + MODULE * published.module != name:
            continue
        for metric in row.differences:
            cell = row.metrics[metric]
            within = _within(published, metric, cell.mean, cell.std, cell.runs)
            values = (published.values[metric], cell.mean)
            yield Compared(table.title, row.name, table.metrics[metric].label, *values, within)
        if row.role != RETRAIN:
            yield Compared(table.title, row.name, "gap", published.gap, row.gap_of_means, None)
        measured_pflops = row.costs["paper_flops"] / 1e15
        yield Compared(table.title, row.name, "PFLOP", published.pflops, measured_pflops, None)


def method_name(role: str, method: str, module: bool) -> str:
    """What the files of printed values call a row: by its method, and by its role otherwise.

    The module added to fine-tuning is CoUn.

    >>> method_name("method", "finetune", True), method_name("Original", "retrain", False)
    ('CoUn', 'Original')
    """
    if role in (ORIGINAL, RETRAIN, FLOOR):
        return role
    is_coun = module and without_contrast(method) == FineTune.name
    return method_style(CoUn.name if is_coun else method).label + MODULE * (module and not is_coun)


def improvements(rows: Sequence[Published], setting: tuple[str, str, str, str]) -> dict[str, float]:
    """By how many percent the module made the printed gap of each method smaller (Figure 4)."""
    gaps = {x.method + MODULE * x.module: x.gap for x in rows if x.setting == setting}
    return {
        name: 100 * (1 - gaps[name + MODULE] / gap)
        for name, gap in gaps.items()
        if name + MODULE in gaps
    }


def improvements_of(
    results: Mapping[str, Any], table: ResultTable, rows: Sequence[Published]
) -> dict[str, float]:
    """The printed `improvements` of the setting of *table*; none where the paper has none."""
    setting = printed_setting(results, table.workload, table.scenario)
    return {} if setting is None else improvements(rows, setting)


def _within(
    published: Published, metric: str, mean: float, std: float | None, runs: int
) -> bool | None:
    """Whether Welch's test at 5% accepts equal means; None without a standard deviation."""
    if std is None:
        return None
    expected, spread = published.values[metric], published.stds[metric]
    if spread == std == 0:
        return bool(mean == expected)
    test = stats.ttest_ind_from_stats(expected, spread, SEEDS, mean, std, runs, equal_var=False)
    return bool(test.pvalue >= 0.05)


HEADER = ["setting", "method", "", "paper", "ours", "difference", "within 95%"]


def texts(pair: Compared) -> list[str]:
    """One comparison as the cells of a row, see `HEADER`."""
    within = {True: "yes", False: "no", None: ""}[pair.within]
    values = (f"{pair.published:.2f}", f"{pair.measured:.2f}", f"{pair.difference:+.2f}")
    return [pair.table, pair.row, pair.metric, *values, within]


def contradictions(rows: Sequence[Published]) -> list[list[str]]:
    """The rows of `inconsistent` as cells: setting, method, printed gap, recomputed gap."""
    return [
        [
            f"Table {row.table}: {', '.join(row.setting[:3])} {row.setting[3]}%",
            row.method + MODULE * row.module,
            f"{row.gap:.2f}",
            f"{gap:.2f}",
        ]
        for row, gap in inconsistent(rows)
    ]
