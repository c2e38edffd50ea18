"""Tests over seeds of every column, and the metrics that compare the models of all seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from coun.bench.output.render import probability
from coun.bench.output.result_table import ResultTable
from coun.bench.output.results import records_of
from coun.bench.output.tables import metric_of
from coun.bench.spec.planned import FLOOR, METHOD, RETRAIN
from coun.metrics import Metric, equivalence, holm, paired
from coun.report import Grid

FEWEST = 3  # seeds below which nothing is tested
HEADER = ["tests by seed", "method", "difference", "p (Holm)", "margin", "equivalent (p)"]

NOTE = (
    f"Difference: to the {RETRAIN} of the same seed; for a metric that itself compares a model "
    f"with {RETRAIN}, to that of a second {RETRAIN}. p (Holm): the chance of so large a difference "
    f"where there is none, corrected for the number of methods. Margin: how far two {RETRAIN}s are "
    "apart, which counts as no difference. Equivalent: yes if the difference is shown to be "
    "smaller than the margin (two one-sided tests at 5%); not shown does not mean that there is a "
    "difference."
)


def seed_tests(results: Mapping[str, Any], table: ResultTable) -> Grid | None:
    """Test for every metric whether a method differs from Retrain, and whether it is equivalent.

    A metric that each model has by itself is compared with Retrain's of the same seed; the margin
    of the equivalence is the mean |difference| between two Retrains. A metric that compares a
    model with Retrain is compared with that of the second Retrain; the margin is its standard
    deviation over seeds. Differences are tested by paired t tests, Holm-corrected over the methods
    of a metric; equivalence by two one-sided paired t tests at 5%.

    Returns: None with fewer than three seeds in common.
    """
    records = records_of(results["rows"], table.workload, table.scenario, table.stage)
    tested = table.metrics.items()
    lines = [line for name, metric in tested for line in _of_metric(name, metric, records)]
    if not lines:
        return None
    return Grid.of(HEADER, lines, words=True, note=NOTE).without_empty(*HEADER[-2:])


def _of_metric(name: str, metric: Metric, records: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    role = RETRAIN if metric.direction == "nearer" else FLOOR
    reference = _by_seed([r for r in records if r["role"] == role], name)
    again = _by_seed([r for r in records if r["role"] == FLOOR], name)
    methods = dict.fromkeys(r["row"] for r in records if r["role"] == METHOD)
    pairs = {}
    for row in methods:
        records_of_row = [r for r in records if r["row"] == row]
        values = _by_seed(records_of_row, name)
        # A method that read some test rows is measured on the others, and Retrain beside it, too.
        gaps = _by_seed(records_of_row, f"gap_{name}")
        beside = {s: values[s] - gap for s, gap in gaps.items() if s in values}
        expected = reference if role == FLOOR else reference | beside
        seeds = sorted(values.keys() & expected.keys())
        if len(seeds) >= FEWEST:
            pairs[row] = ([values[s] for s in seeds], [expected[s] for s in seeds])
    corrected = holm({row: _p(*pair) for row, pair in pairs.items()})
    margin = _margin(role, reference, again)
    lines = []
    for row, (of_row, of_reference) in pairs.items():
        difference = fmean(of_row) - fmean(of_reference)
        texts = ["", ""]
        if margin > 0:
            test = equivalence(of_row, of_reference, margin=margin)
            answer = "yes" if test.equivalent else "not shown"
            texts = [f"{margin:.{metric.digits}f}", f"{answer} ({test.p:.3f})"]
        signed = f"{difference:+.{metric.digits}f}"
        lines.append([metric.label, row, signed, probability(corrected[row]), *texts])
    return lines


def _by_seed(records: Sequence[Mapping[str, Any]], name: str) -> dict[int, float]:
    values = {r["seed"]: r.get(name) for r in records}
    return {s: float(v) for s, v in values.items() if v is not None and math.isfinite(v)}


def _p(values: Sequence[float], reference: Sequence[float]) -> float:
    p = paired(values, reference).p
    return 1.0 if math.isnan(p) else p  # equal on every seed


def _margin(role: str, reference: Mapping[int, float], again: Mapping[int, float]) -> float:
    """The difference that two Retrains have; 0 where there is no second Retrain."""
    if role == FLOOR:
        return stdev(again.values()) if len(again) > 1 else 0.0
    shared = reference.keys() & again.keys()
    return fmean(abs(reference[s] - again[s]) for s in shared) if shared else 0.0


def ensemble_grid(results: Mapping[str, Any], table: ResultTable) -> Grid | None:
    """The metrics that compare the models of all seeds with the Retrains; None without any."""
    ensembles = results.get("ensembles", [])
    records = records_of(ensembles, table.workload, table.scenario, table.stage)
    if not records:
        return None
    metrics = [metric_of(name, results) for name in records[0]["metrics"]]
    rows = []
    for record in records:
        values = [record["metrics"][m.name] for m in metrics]
        texts = [
            "" if value is None else f"{value:.{m.digits}f}"
            for m, value in zip(metrics, values, strict=True)
        ]
        rows.append([record["row"], *texts, str(record["models"])])
    return Grid.of(["all seeds together", *(m.label for m in metrics), "models"], rows)
