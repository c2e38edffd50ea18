"""Makes the tables of a bench from its results: means over seeds, tests, and what columns mean."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from coun.bench.execute.records import COSTS, RATIOS
from coun.bench.output.result_table import (
    FEWEST_SEEDS,
    ModuleTest,
    ResultRow,
    ResultTable,
    common_seeds,
)
from coun.bench.spec.planned import FLOOR, METHOD, ORIGINAL, RETRAIN
from coun.bench.spec.protocols import ATTACKS
from coun.methods import without_contrast
from coun.metrics import (
    GAP_METRICS,
    Metric,
    catalogue,
    holm,
    mean_interval,
    paired,
    rank_shares,
)
from coun.metrics.selection import worse_than_best
from coun.report import Cell

FEWEST_RESAMPLED = 5  # seeds below which bootstrap shares mean nothing


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
        interval=mean_interval(list(gaps.values()), limits=(0, 100)),
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
    seeds = common_seeds(methods)
    p_values: dict[str, float] = {}
    if len(methods) > 1 and len(seeds) >= FEWEST_SEEDS:
        p_values = worse_than_best({row.name: [row.gaps[s] for s in seeds] for row in methods})
    return [
        replace(row, smallest=row is smallest, p=p_values.get(row.name, math.nan))
        if row.role == METHOD
        else row
        for row in rows
    ]


def _module_tests(methods: Sequence[ResultRow]) -> list[ModuleTest]:
    """Test each method against itself with the module, over the seeds that both rows have."""
    pairs = [(_without_module(row, methods), row) for row in methods if row.module]
    gaps = {
        f"{plain.name} / {row.name}": (plain.name, *_shared_gaps(plain, row))
        for plain, row in pairs
        if plain is not None and common_seeds([plain, row])
    }
    p_values = {base: _paired_p(*both) for base, (_, *both) in gaps.items()}
    corrected = holm(p_values)
    return [
        ModuleTest(
            name,
            base,
            float(without.mean()),
            float(with_module.mean()),
            p_values[base],
            corrected[base],
            tuple(100 * (without - with_module) / without.mean()) if without.any() else (),
        )
        for base, (name, without, with_module) in gaps.items()
    ]


def _shared_gaps(a: ResultRow, b: ResultRow) -> tuple[np.ndarray, np.ndarray]:
    """The gaps of two rows on the seeds that both have."""
    seeds = common_seeds([a, b])
    return np.array([a.gaps[s] for s in seeds]), np.array([b.gaps[s] for s in seeds])


def _paired_p(a: np.ndarray, b: np.ndarray) -> float:
    """p of the test that is paired by seed; NaN for fewer than two."""
    if len(a) < 2:
        return math.nan
    p = paired(a, b).p
    return 1.0 if math.isnan(p) else p  # equal gaps on every seed: t is 0/0


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
    seeds = common_seeds(methods)
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
        ("±", "Before it the mean over the seeds, after it their standard deviation."),
        ("in brackets", f"The mean signed difference to the {RETRAIN} of the same seed."),
        (
            "gap",
            f"The mean absolute difference to {RETRAIN} over RA, UA, TA and MIA, in points: the "
            "mean over seeds, with its 95% interval (Student's t, cut at 0 and 100, between which "
            "every gap lies).",
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
