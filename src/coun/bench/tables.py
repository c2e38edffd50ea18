"""Rows over seeds as tables: means, intervals, tests, costs; and what they say of the module."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from coun.bench.plan import CANDIDATE, FLOOR, METHOD, ORIGINAL, RETRAIN
from coun.bench.protocols import MEANING
from coun.bench.results import COSTS, RATIOS
from coun.metrics import Mean, holm, mean_interval, paired, rank_stability
from coun.report import Cell

SIGNIFICANT = 0.05
WITHIN = (1.0, 1.5, 3.0)  # times the floor: how near a method must come for its cost to count


@dataclass(frozen=True)
class Line:
    """One row of a table, over its seeds.

    Args:
        metrics: per metric a `Cell`; *differences*, mean signed distance to Retrain.
        gap: mean over seeds of each seed's gap; *interval* its 95% interval; *gap_of_means*
            the gap between seed means, the paper's convention, which is never larger.
        p: of the paired test against the best line, Holm-corrected; nan where there is none.
        costs: means of what `results.COSTS` names, of memory the highest, and of `results.RATIOS`.
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
    best: bool = False
    p: float = math.nan

    @property
    def tied(self) -> bool:
        """Not told from the best by the corrected test."""
        return not self.best and self.p >= SIGNIFICANT


@dataclass(frozen=True)
class ModuleTest:
    """A method with and without the module: mean gaps, and whether the difference is chance."""

    base: str
    without: float
    with_: float
    p: float
    corrected: float


@dataclass
class Block:
    """One table: a bed, a scenario, a stage."""

    bed: str
    scenario: str
    stage: int
    last: bool
    metrics: tuple[str, ...]
    seeds: tuple[int, ...]
    lines: list[Line]
    module: list[ModuleTest] = field(default_factory=list)
    ranks: dict[str, list[float]] = field(default_factory=dict)

    @property
    def title(self) -> str:
        stage = f", stage {self.stage}" if self.stage > 1 or not self.last else ""
        return f"{self.bed}, {self.scenario}{stage}"

    @property
    def methods(self) -> list[Line]:
        return [line for line in self.lines if line.role == METHOD]

    @property
    def shown(self) -> list[Line]:
        """All but the candidates, which only enter `oracle`."""
        return [line for line in self.lines if line.role != CANDIDATE]

    def oracle(self, line: Line) -> Line | None:
        """The line of least mean gap among a method's variants and candidates: chosen with
        the answer in view. None where there is nothing to choose from."""
        among = [x for x in self.lines if x.base == line.base and x.role in (METHOD, CANDIDATE)]
        return min(among, key=lambda x: x.gap.mean) if len(among) > 1 else None

    @property
    def has_oracle(self) -> bool:
        return any(self.oracle(line) for line in self.methods)

    @property
    def has_prior(self) -> bool:
        """Whether a method was prepared before the request."""
        return any(line.costs["preparation_flops"] > 0 for line in self.methods)

    @property
    def floor(self) -> float:
        """Mean gap between two Retrains; nan where none was run twice."""
        found = [line.gap.mean for line in self.lines if line.role == FLOOR]
        return found[0] if found else math.nan

    def cheapest(self, times: float, base: str | None = None) -> Line | None:
        """The line of least FLOPs among those with a gap within *times* the floor: of all, or
        of the variants of one method."""
        near = [
            line
            for line in self.methods
            if line.gap.mean <= times * self.floor and base in (None, line.base)
        ]
        return min(near, key=lambda line: line.costs["flops_ratio"], default=None)

    @property
    def quality(self) -> list[tuple[str, list[Line | None]]]:
        """What each method takes to come within each of `WITHIN` floors; None if it never does."""
        bases = dict.fromkeys(line.base for line in self.methods)
        return [(base, [self.cheapest(times, base) for times in WITHIN]) for base in bases]


def blocks(found: Mapping[str, Any]) -> list[Block]:
    """The tables of a bench's results, in their order."""
    groups: dict[tuple[str, str, int], list[Mapping[str, Any]]] = {}
    for row in found["rows"]:
        groups.setdefault((row["bed"], row["scenario"], row["stage"]), []).append(row)
    last: dict[tuple[str, str], int] = {}
    for bed, scenario, stage in groups:
        last[bed, scenario] = max(stage, last.get((bed, scenario), 0))
    metrics = tuple(found["config"]["metrics"])
    tables = []
    for (bed, scenario, stage), rows in groups.items():
        seeds = tuple(sorted({row["seed"] for row in rows}))
        lines = _tested(_lines(rows, metrics))
        block = Block(bed, scenario, stage, last[bed, scenario] == stage, metrics, seeds, lines)
        block.module = _module_tests(block.methods)
        block.ranks = _ranks(block.methods)
        tables.append(block)
    return tables


def _lines(rows: Sequence[Mapping[str, Any]], metrics: Sequence[str]) -> list[Line]:
    names = list(dict.fromkeys(row["row"] for row in rows))
    return [_line([r for r in rows if r["row"] == name], metrics) for name in names]


def _line(rows: Sequence[Mapping[str, Any]], metrics: Sequence[str]) -> Line:
    first = rows[0]
    gaps = {row["seed"]: row["gap"] for row in rows}
    differences = {m: _mean([row[f"gap_{m}"] for row in rows]) for m in metrics}
    costs = {k: _mean([row[k] for row in rows if row[k] is not None]) for k in (*COSTS, *RATIOS)}
    costs["peak_memory_mib"] = max(row["peak_memory_mib"] for row in rows)
    return Line(
        name=first["row"],
        role=first["role"],
        method=first["method"],
        base=first["base"],
        module=first["module"],
        reads_forget=first["reads_forget"],
        varied=first["varied"],
        runs=len(rows),
        metrics={m: Cell.of([row[m] for row in rows]) for m in metrics},
        differences=differences,
        gap=Cell.of(list(gaps.values())),
        interval=mean_interval(list(gaps.values())),
        gap_of_means=_mean([abs(d) for d in differences.values()]),
        costs=costs,
        gaps=gaps,
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _tested(lines: list[Line]) -> list[Line]:
    """The best method marked, and every other tested against it."""
    methods = [line for line in lines if line.role == METHOD]
    if not methods:
        return lines
    best = min(methods, key=lambda line: line.gap.mean)
    raw = {x.name: _paired(x, best) for x in methods if x is not best}
    corrected = holm(raw)
    return [replace(x, best=x is best, p=corrected.get(x.name, math.nan)) for x in lines]


def _paired(a: Line, b: Line) -> float:
    """p over the seeds that both have; NaN for fewer than two."""
    seeds = [seed for seed in a.gaps if seed in b.gaps]
    if len(seeds) < 2:
        return math.nan
    p = paired([a.gaps[s] for s in seeds], [b.gaps[s] for s in seeds]).p
    return 1.0 if math.isnan(p) else p  # equal gaps on every seed: t is 0/0


def _module_tests(methods: Sequence[Line]) -> list[ModuleTest]:
    """Each method against itself with the module; CoUn is fine-tuning with it."""
    pairs = []
    for line in methods:
        other = _without(line, methods) if line.module else None
        if other is not None:
            pairs.append((other, line))
    raw = {b.name: _paired(a, b) for a, b in pairs}
    corrected = holm(raw)
    return [
        ModuleTest(f"{a.name} / {b.name}", a.gap.mean, b.gap.mean, raw[b.name], corrected[b.name])
        for a, b in pairs
    ]


def _without(line: Line, methods: Sequence[Line]) -> Line | None:
    """The row of the same method and variant without the module; of several, the one whose
    label *line*'s begins with."""
    method = "finetune" if line.method == "coun" else line.method
    plain = [x for x in methods if x.method == method and not x.module]
    same = [x for x in plain if x.varied == line.varied] or [x for x in plain if not x.varied]
    named = [x for x in same if line.base.startswith(x.base)]
    return max(named, key=lambda x: len(x.base), default=same[0] if same else None)


def _ranks(methods: Sequence[Line]) -> dict[str, list[float]]:
    """Over the seeds that every method has; empty with fewer than two of them."""
    if len(methods) < 2:
        return {}
    seeds = sorted(set.intersection(*(set(line.gaps) for line in methods)))
    if len(seeds) < 2:
        return {}
    scores = {line.name: [line.gaps[s] for s in seeds] for line in methods}
    return rank_stability(scores, generator=np.random.default_rng(0)).shares


def legend(found: Mapping[str, Any]) -> str:
    """What columns and marks mean, in one paragraph."""
    mia = MEANING[found["protocol"]["mia"]]
    return (
        "RA, UA, TA: retain, unlearn (100 minus forget) and test accuracy, percent; MIA: "
        f"{mia}. In brackets the mean signed difference to the same seed's {RETRAIN}. gap: mean "
        f"over seeds of the mean absolute difference to {RETRAIN}, points, with its 95% interval; "
        "gap of means: the same of seed means, the paper's convention. p: paired t-test on the "
        "gaps against the best, Holm-corrected. FLOPs: executed floating-point operations over "
        f"{RETRAIN}'s; paper's: its own accounting, which charges second views and forget "
        "batches a forward only; before: what was paid before the request (SISA, ARCANE) and is "
        f"in no other column. {FLOOR}: another seed's Retrain of the same request, the "
        f"floor; {ORIGINAL}: the model before unlearning. Only what is near {RETRAIN} is good. "
        "Bold: best. †: tied with the best (p >= 0.05). "
        f"Protocol: {found['protocol']['name']} ({found['protocol']['source']})."
    )
