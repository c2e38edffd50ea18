"""One table of a bench: its rows over seeds, and what can be said of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from coun.bench.spec.planned import CANDIDATE, FLOOR, METHOD
from coun.errors import counted
from coun.metrics import Mean, Metric
from coun.report import Cell
from coun.runs.evaluation import FITS

SIGNIFICANT = 0.05
# Seeds below which the test cannot give a p below 0.05: flips of n signs give 2 ** (1 - n) at best.
FEWEST_SEEDS = 6
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
        without, with_module: means over the seeds that both rows have.
        p, corrected: of the test, before and after Holm's correction over all tests of the table.
        by_seed: by how much the gap of each seed became smaller, in percent of the mean gap without
            the module; their mean is the improvement.
    """

    name: str
    base: str
    without: float
    with_module: float
    p: float
    corrected: float
    by_seed: tuple[float, ...] = ()

    @property
    def improvement(self) -> float:
        """By how many percent the module makes the mean gap smaller (CoUn, Figure 4)."""
        return 100 * (1 - self.with_module / self.without) if self.without else math.nan


class Caution(NamedTuple):
    """Why a table must not be believed: a sentence with {} in the place of each of its values."""

    sentence: str
    values: tuple[str, ...] = ()


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
    def cautions(self) -> list[Caution]:
        """Why the table must not be believed."""
        found = []
        if self.fit < FITS:
            found.append(
                Caution(
                    "the Original classifies only {} of its own training rows correctly. A model "
                    "that has not learned its training rows has little to forget; train it longer.",
                    (f"{self.fit:.1f}%",),
                )
            )
        if len(self.methods) < 2:
            return found
        seeds = len(common_seeds(self.methods))
        if seeds < FEWEST_SEEDS:
            found.append(
                Caution(
                    "all methods have {} in common; the test of which method is nearest needs "
                    f"{FEWEST_SEEDS}, so which one is nearest is not shown.",
                    (counted(seeds, "seed"),),
                )
            )
        if math.isnan(self.floor):
            found.append(
                Caution(
                    "Retrain was trained once for each seed, so how far two Retrains are apart is "
                    "not known, and no difference can be held against it (see floor)."
                )
            )
        gaps = [row.gap.mean for row in self.methods]
        if max(gaps) - min(gaps) <= self.floor:
            found.append(
                Caution(
                    "the methods' gaps differ by {} points, and two Retrains by {}. Differences "
                    "below the floor say nothing.",
                    (f"{max(gaps) - min(gaps):.2f}", f"{self.floor:.2f}"),
                )
            )
        return found

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


def common_seeds(methods: Sequence[ResultRow]) -> list[int]:
    """The seeds that all *methods* have."""
    return sorted(set.intersection(*(set(row.gaps) for row in methods)))


def cautions_of(tables: Sequence[ResultTable]) -> list[str]:
    """Say each caution once, with all tables that it is about and their values in this order."""
    about: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
    for table in tables:
        for sentence, values in table.cautions:
            about.setdefault(sentence, []).append((table.title, values))
    texts = []
    for sentence, places in about.items():
        titles, values = zip(*places, strict=True)
        listed = (", ".join(dict.fromkeys(column)) for column in zip(*values, strict=True))
        texts.append(f"{'; '.join(titles)}: {sentence.format(*listed)}")
    return texts
