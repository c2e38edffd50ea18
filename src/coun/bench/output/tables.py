"""Tables over seeds: means, intervals, tests and costs, and the effect of the module."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from coun.bench.execute.records import COSTS, RATIOS
from coun.bench.spec.planned import CANDIDATE, FLOOR, METHOD, ORIGINAL, RETRAIN
from coun.bench.spec.protocols import ATTACKS
from coun.methods import without_contrast
from coun.metrics import (
    GAP_METRICS,
    Mean,
    Metric,
    catalogue,
    holm,
    mean_interval,
    paired,
    rank_shares,
)
from coun.metrics.selection import worse_than_best
from coun.report import Cell

SIGNIFICANT = 0.05
# Seeds below which the test cannot give a p below 0.05: flips of n signs give 2 ** (1 - n) at best.
FEWEST_SEEDS = 6
FEWEST_RESAMPLED = 5  # seeds below which bootstrap shares mean nothing
FITS = 90.0  # percent of its own training rows that a model must answer rightly
WITHIN = (1.0, 1.5, 3.0)  # how near Retrain, in floors, a method must come for its cost to count


@dataclass(frozen=True)
class ResultRow:
    """One row of a table, over its seeds.

    Args:
        name: the label; *base* is the label without the settings in *varied*.
        runs: number of seeds.
        metrics: mean and standard deviation by metric, without metrics that have no value.
        differences: mean signed difference to Retrain by metric of the gap.
        gap: the gap, over seeds; *interval* is its 95% interval, *gaps* its value by seed.
        gap_of_means: the gap between the means over seeds, as the paper computes it; it is
            never larger than the mean gap.
        costs: means of `COSTS` and `RATIOS`; of the memory the maximum.
        smallest: whether the row has the smallest mean gap of all methods.
        p: of the row being as near to Retrain as the nearest method, valid although the data
            chose it (`worse_than_best`); NaN where there is no test.
    """

    name: str
    role: str
    method: str
    base: str
    module: bool
    reads_forget: bool
    varied: Mapping[str, Any]
    runs: int
    metrics: Mapping[str, Cell]
    differences: Mapping[str, float]
    gap: Cell
    interval: Mean
    gap_of_means: float
    costs: Mapping[str, float]
    gaps: Mapping[int, float]
    smallest: bool = False
    p: float = math.nan

    @property
    def is_worse(self) -> bool:
        """Whether the row is shown not to be the nearest method."""
        return self.p < SIGNIFICANT


@dataclass(frozen=True)
class ModuleTest:
    """A method without and with the contrastive module: mean gaps and the paired test.

    Args:
        name: the row without the module.
        base: what both rows are called.
        p, corrected: of the test, before and after Holm's correction over all tests of the table.
    """

    name: str
    base: str
    without: float
    with_module: float
    p: float
    corrected: float

    @property
    def improvement(self) -> float:
        """By how many percent the module makes the mean gap smaller (CoUn, Figure 4)."""
        return 100 * (1 - self.with_module / self.without) if self.without else math.nan


@dataclass
class ResultTable:
    """One table: a workload, a scenario and a stage.

    Args:
        last: whether this is the last stage of the scenario.
        metrics: the metrics in the columns, by name.
        rows: references, methods and candidates, in the order of the plan.
        ranks: by row, how often it has each rank over bootstrap resamples of the seeds.
        fit: the Original's mean accuracy on its own training rows, percent, whether or not it is
            a column.
    """

    workload: str
    scenario: str
    stage: int
    last: bool
    metrics: Mapping[str, Metric]
    seeds: tuple[int, ...]
    rows: list[ResultRow]
    module: list[ModuleTest] = field(default_factory=list)
    ranks: dict[str, list[float]] = field(default_factory=dict)
    fit: float = math.nan

    @property
    def title(self) -> str:
        """Workload, scenario and, where there are several, the stage."""
        stage = f", stage {self.stage}" if self.stage > 1 or not self.last else ""
        return f"{self.workload}, {self.scenario}{stage}"

    @property
    def methods(self) -> list[ResultRow]:
        """The rows of the methods under comparison."""
        return [row for row in self.rows if row.role == METHOD]

    @property
    def can_tell(self) -> bool:
        """Whether the test shows of any method that it is not the nearest one."""
        return any(row.is_worse for row in self.methods)

    def mark(self, row: ResultRow) -> str:
        """How a row is set off: "best", "tied" or not at all, as nothing is told apart."""
        if not self.can_tell or row.role != METHOD or row.is_worse or math.isnan(row.p):
            return ""
        return "best" if row.smallest else "tied"

    @property
    def warnings(self) -> list[str]:
        """Why the table must not be believed, one sentence each."""
        texts = []
        if self.fit < FITS:
            texts.append(
                f"{self.title}: the Original classifies only {self.fit:.1f}% of its own training "
                "rows correctly. A model that has not learned its training rows has little to "
                "forget; train it longer."
            )
        if len(self.methods) < 2:
            return texts
        seeds = len(_common_seeds(self.methods))
        if seeds < FEWEST_SEEDS:
            texts.append(
                f"{self.title}: all methods have {seeds} seed{'' if seeds == 1 else 's'} in "
                f"common; the test of which method is nearest needs {FEWEST_SEEDS}, so which one "
                "is nearest is not shown."
            )
        if math.isnan(self.floor):
            texts.append(
                f"{self.title}: Retrain was trained once for each seed, so how far two Retrains "
                "are apart is not known, and no difference can be held against it (see floor)."
            )
        gaps = [row.gap.mean for row in self.methods]
        if max(gaps) - min(gaps) <= self.floor:
            texts.append(
                f"{self.title}: the methods' gaps differ by {max(gaps) - min(gaps):.2f} points, "
                f"and two Retrains by {self.floor:.2f}. Differences below the floor say nothing."
            )
        return texts

    @property
    def shown(self) -> list[ResultRow]:
        """All rows but the candidates, which only enter `oracle`."""
        return [row for row in self.rows if row.role != CANDIDATE]

    def oracle(self, row: ResultRow) -> ResultRow | None:
        """The row with the smallest mean gap among the variants and candidates of a method.

        It is chosen by the reported gap itself, so it shows what selection can gain. None
        where there is only one row.
        """
        choices = [x for x in self.rows if x.base == row.base and x.role in (METHOD, CANDIDATE)]
        return min(choices, key=lambda x: x.gap.mean) if len(choices) > 1 else None

    @property
    def has_oracle(self) -> bool:
        """Whether any method has several variants or candidates."""
        return any(self.oracle(row) for row in self.methods)

    @property
    def has_preparation(self) -> bool:
        """Whether any method computed something before the request."""
        return any(row.costs["preparation_flops"] > 0 for row in self.methods)

    @property
    def floor(self) -> float:
        """Mean gap between two Retrains; NaN where Retrain was trained only once."""
        return next((row.gap.mean for row in self.rows if row.role == FLOOR), math.nan)

    def cheapest(self, floors: float, base: str | None = None) -> ResultRow | None:
        """The row with the fewest operations among those with a gap of at most *floors* floors.

        Args: base: consider only the variants of this method.
        """
        near = [
            row
            for row in self.methods
            if row.gap.mean <= floors * self.floor and base in (None, row.base)
        ]
        return min(near, key=lambda row: row.costs["flops_ratio"], default=None)

    @property
    def cost_to_quality(self) -> list[tuple[str, list[ResultRow | None]]]:
        """By method, the cheapest row within each of `WITHIN` floors; None if there is none."""
        bases = dict.fromkeys(row.base for row in self.methods)
        return [(base, [self.cheapest(floors, base) for floors in WITHIN]) for base in bases]


def metric_of(name: str, results: Mapping[str, Any]) -> Metric:
    """The registered metric, or a stand-in for one whose code is not installed.

    A report imports no code that results name. Of a metric `./file.py:NAME` it shows what the bench
    wrote down; results of earlier versions have only NAME.
    """
    if name in catalogue():
        return catalogue()[name]
    described = results.get("metrics", {}).get(name, {"label": name.rpartition(":")[2]})
    return Metric(name=name, function=lambda: None, **{"unit": "", "needs": (), **described})


def result_tables(results: Mapping[str, Any]) -> list[ResultTable]:
    """Make the tables of a bench from the content of its `results.json`, in their order."""
    groups: dict[tuple[str, str, int], list[Mapping[str, Any]]] = {}
    for record in results["rows"]:
        key = (record["workload"], record["scenario"], record["stage"])
        groups.setdefault(key, []).append(record)
    last: dict[tuple[str, str], int] = {}
    for workload, scenario, stage in groups:
        last[workload, scenario] = max(stage, last.get((workload, scenario), 0))
    named = results["config"]["metrics"]
    described = {name: metric_of(name, results) for name in named}
    metrics = {name: m for name, m in described.items() if not m.compares_runs}
    tables = []
    for (workload, scenario, stage), records in groups.items():
        seeds = tuple(sorted({record["seed"] for record in records}))
        names = dict.fromkeys(record["row"] for record in records)
        rows = [_row([r for r in records if r["row"] == name], tuple(metrics)) for name in names]
        is_last = last[workload, scenario] == stage
        table = ResultTable(
            workload, scenario, stage, is_last, metrics, seeds, _compared_with_best(rows)
        )
        of_original = [r["retain_accuracy"] for r in records if r["role"] == ORIGINAL]
        table.fit = _mean([value for value in of_original if value is not None])
        table.module = _module_tests(table.methods)
        table.ranks = _ranks(table.methods)
        tables.append(table)
    return tables


def _row(records: Sequence[Mapping[str, Any]], metrics: Sequence[str]) -> ResultRow:
    first = records[0]
    gaps = {record["seed"]: record["gap"] for record in records}
    differences = {
        m: _mean([record[f"gap_{m}"] for record in records]) for m in metrics if m in GAP_METRICS
    }
    values = {m: [r[m] for r in records if r.get(m) is not None] for m in metrics}
    costs = {
        name: _mean([record[name] for record in records if record.get(name) is not None])
        for name in (*COSTS, *RATIOS)
    }
    costs["peak_memory_mib"] = max(record["peak_memory_mib"] for record in records)
    return ResultRow(
        name=first["row"],
        role=first["role"],
        method=first["method"],
        base=first["base"],
        module=first["module"],
        reads_forget=first["reads_forget"],
        varied=first["varied"],
        runs=len(records),
        metrics={m: Cell.of(numbers) for m, numbers in values.items() if numbers},
        differences=differences,
        gap=Cell.of(list(gaps.values())),
        interval=mean_interval(list(gaps.values())),
        gap_of_means=_mean([abs(d) for d in differences.values()]),
        costs=costs,
        gaps=gaps,
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _compared_with_best(rows: list[ResultRow]) -> list[ResultRow]:
    """Test of every method whether it is the nearest one, over the seeds that all of them have."""
    methods = [row for row in rows if row.role == METHOD]
    if not methods:
        return rows
    smallest = min(methods, key=lambda row: row.gap.mean)
    seeds = _common_seeds(methods)
    p_values: dict[str, float] = {}
    if len(methods) > 1 and len(seeds) >= FEWEST_SEEDS:
        p_values = worse_than_best({row.name: [row.gaps[s] for s in seeds] for row in methods})
    return [
        replace(row, smallest=row is smallest, p=p_values.get(row.name, math.nan))
        if row.role == METHOD
        else row
        for row in rows
    ]


def _common_seeds(methods: Sequence[ResultRow]) -> list[int]:
    return sorted(set.intersection(*(set(row.gaps) for row in methods)))


def _paired_p(a: ResultRow, b: ResultRow) -> float:
    """p of the paired test over the seeds that both rows have; NaN for fewer than two."""
    seeds = [seed for seed in a.gaps if seed in b.gaps]
    if len(seeds) < 2:
        return math.nan
    p = paired([a.gaps[s] for s in seeds], [b.gaps[s] for s in seeds]).p
    return 1.0 if math.isnan(p) else p  # equal gaps on every seed: t is 0/0


def _module_tests(methods: Sequence[ResultRow]) -> list[ModuleTest]:
    """Test each method against itself with the module."""
    pairs = [(_without_module(row, methods), row) for row in methods if row.module]
    tested = [(plain, row) for plain, row in pairs if plain is not None]
    p_values = {row.name: _paired_p(plain, row) for plain, row in tested}
    corrected = holm(p_values)
    return [
        ModuleTest(
            plain.name,
            f"{plain.name} / {row.name}",
            plain.gap.mean,
            row.gap.mean,
            p_values[row.name],
            corrected[row.name],
        )
        for plain, row in tested
    ]


def _without_module(row: ResultRow, methods: Sequence[ResultRow]) -> ResultRow | None:
    """The row of the same method and variant without the module.

    Of several, it is the one whose label is the longest beginning of the label of *row*.
    """
    method = without_contrast(row.method)
    plain = [x for x in methods if x.method == method and not x.module]
    same = [x for x in plain if x.varied == row.varied] or [x for x in plain if not x.varied]
    named = [x for x in same if row.base.startswith(x.base)]
    return max(named, key=lambda x: len(x.base), default=same[0] if same else None)


def _ranks(methods: Sequence[ResultRow]) -> dict[str, list[float]]:
    """Rank stability over the seeds that all methods have; empty with fewer than five."""
    if len(methods) < 2:
        return {}
    seeds = _common_seeds(methods)
    if len(seeds) < FEWEST_RESAMPLED:
        return {}
    scores = {row.name: [row.gaps[s] for s in seeds] for row in methods}
    return rank_shares(scores, generator=np.random.default_rng(0))


def legend(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Explain the columns and marks of the tables: what each is called, and what it means."""
    further = [metric_of(m, results) for m in results["config"]["metrics"] if m not in GAP_METRICS]
    attack = ATTACKS[results["protocol"]["mia"]]
    return [
        ("RA, TA", "Accuracy on the retain rows and on the test rows, in percent."),
        ("UA", "100 minus the accuracy on the forget rows, in percent."),
        ("MIA", f"{attack[0].upper()}{attack[1:]}."),
        *((m.label, f"{m.title} ({m.unit or 'no unit'}).") for m in further),
        ("in brackets", f"The mean signed difference to the {RETRAIN} of the same seed."),
        (
            "gap",
            f"The mean absolute difference to {RETRAIN} over RA, UA, TA and MIA, in points: the "
            "mean over seeds, with its 95% interval.",
        ),
        ("gap of means", "The same of the means over seeds, as the paper computes it."),
        (
            "p",
            "Of the method being as near to Retrain as the nearest one. It comes from flips of the "
            "signs of the seeds and holds although the data chose the nearest method; with fewer "
            f"than {FEWEST_SEEDS} seeds there is none.",
        ),
        (
            "bold, †",
            "Where the test shows of some methods that they are not the nearest (p < 0.05), the "
            "smallest gap is bold, and † marks the other methods that may be the nearest.",
        ),
        ("p (Holm)", "p, corrected for the number of tests of the table."),
        (
            "operations",
            "Floating-point operations that were executed. The paper counts only the forward pass "
            "of second views and forget batches.",
        ),
        ("before", "Computed before the request (SISA, ARCANE), and part of no other column."),
        (ORIGINAL, "The model before unlearning."),
        (FLOOR, f"A {RETRAIN} of the same request with another seed; its gap is the floor."),
    ]
