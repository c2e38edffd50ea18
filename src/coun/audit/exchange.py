"""Forgotten rows against test rows of the same class: to a model that saw neither they are alike.

A random or class-wise request draws its rows as the test rows were drawn, so for a model and
any Retrains that never saw them, a row's place in its class says nothing of its group. Every
test here rests on that alone: not on what models do, nor on how alike they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr, stdtrit
from scipy.stats import rankdata

from coun.errors import CounError
from coun.metrics.arrays import Floats, Ints

DRAWS, FEWEST_DRAWS = 9_999, 1_999
WORK = 20_000_000  # permuted values a test, beyond which fewer permutations are drawn
FEW = 200  # rows of the smaller group from which on the normal approximation serves


class Groups(NamedTuple):
    """One number for each forgotten row (M,) and each test row (O,)."""

    forget: Floats
    test: Floats


def minus(a: Groups, b: Groups) -> Groups:
    """a - b, row by row."""
    return Groups(a.forget - b.forget, a.test - b.test)


@dataclass(frozen=True, eq=False)
class Strata:
    """Positions of forgotten and of test rows, a pair for each class that both have."""

    pairs: tuple[tuple[Ints, Ints], ...]

    @classmethod
    def of(cls, forget: Ints, test: Ints) -> Strata:
        """From labels (M,), (O,). Raises: CounError if no class occurs in both."""
        both = np.intersect1d(forget, test)
        if len(both) == 0:
            raise CounError("no test row has a forgotten row's class; expected some to compare")
        return cls(tuple((np.flatnonzero(forget == c), np.flatnonzero(test == c)) for c in both))

    @property
    def counts(self) -> tuple[int, int]:
        """Forgotten and test rows that take part."""
        return sum(len(f) for f, _ in self.pairs), sum(len(t) for _, t in self.pairs)


@dataclass(frozen=True)
class RankTest:
    """A stratified two-sample rank test.

    Attributes:
        effect: P(forgotten > test row of its class) - 1/2, ties count half; -0.5..0.5.
        error: its standard deviation where groups are exchangeable.
        p: from permutations, or normal where the smaller group has 200 rows or more.
        permutations: how many were drawn; 0 for the normal approximation.
    """

    effect: float
    error: float
    p: float
    permutations: int

    @property
    def z(self) -> float:
        return self.effect / self.error if self.error > 0 else 0.0


def rank_test(
    strata: Strata,
    scores: Groups,
    generator: np.random.Generator | None = None,
    *,
    greater: bool = False,
) -> RankTest:
    """Do forgotten rows score as test rows of their class do?

    Args:
        generator: for permutations within classes, where there are few rows; without one
            the normal approximation serves there too.
        greater: one-sided, for forgotten rows that score *more*.

    Source: van Elteren 1960: Wilcoxon's rank sums of each class, weighted by 1 / (rows + 1);
        the variance is that over all permutations, ties included.
    """
    parts, total, pairs, variance = [], 0.0, 0.0, 0.0
    for forget, test in strata.pairs:
        values = np.concatenate([scores.forget[forget], scores.test[test]])
        m, rows = len(forget), len(values)
        ranks = (rankdata(values) - (rows + 1) / 2) / (rows + 1)
        parts.append((ranks, m))
        total += ranks[:m].sum()
        pairs += m * (rows - m) / (rows + 1)
        variance += m * (rows - m) / (rows * (rows - 1)) * (ranks**2).sum()
    error = float(np.sqrt(variance)) / pairs
    if error == 0:
        return RankTest(0.0, 0.0, 1.0, 0)
    draws = 0
    if generator is not None and min(strata.counts) < FEW:
        draws = int(np.clip(WORK / sum(strata.counts), FEWEST_DRAWS, DRAWS))
        drawn = np.sum([_sums(ranks, m, draws, generator) for ranks, m in parts], axis=0)
        extreme = drawn >= total - 1e-9 if greater else np.abs(drawn) >= abs(total) - 1e-9
        p = (1 + int(extreme.sum())) / (1 + draws)
    else:
        z = total / pairs / error
        p = float(ndtr(-z)) if greater else float(2 * ndtr(-abs(z)))
    return RankTest(float(total / pairs), error, p, draws)


def unexplained(strata: Strata, mine: Groups, theirs: Groups) -> Groups:
    """*mine* minus slope * *theirs*, the slope by least squares within classes.

    It is fitted on forgotten and test rows together, blind to which is which, so exchangeable
    rows stay exchangeable; and it leaves less noise to a rank test than a plain difference,
    where another model's score predicts a row's only in part.
    """
    above = below = 0.0
    for rows in strata.pairs:
        x, y = (
            np.concatenate([part[r] for part, r in zip(scores, rows, strict=True)])
            for scores in (theirs, mine)
        )
        x = x - x.mean()
        above += float(x @ y)
        below += float(x @ x)
    slope = above / below if below > 0 else 0.0
    return Groups(*(a - slope * b for a, b in zip(mine, theirs, strict=True)))


def _sums(ranks: Floats, m: int, draws: int, generator: np.random.Generator) -> Floats:
    """The rank sum of *m* rows in each of *draws* permutations, (draws,)."""
    some = max(1, WORK // 10 // len(ranks))
    found = [
        generator.permuted(np.tile(ranks, (min(some, draws - done), 1)), axis=1)[:, :m].sum(1)
        for done in range(0, draws, some)
    ]
    return np.concatenate(found)


@dataclass(frozen=True)
class Contrast:
    """A difference of means, its standard error and its interval at *level*."""

    difference: float
    error: float
    low: float
    high: float
    level: float

    def within(self, margin: float) -> bool:
        """Two one-sided tests at (1 - level) / 2 both say: nearer to 0 than *margin*."""
        return -margin < self.low and self.high < margin


def contrast(strata: Strata, scores: Groups, *, unit: float = 0.0, level: float = 0.9) -> Contrast:
    """Mean over forgotten rows minus mean over test rows, classes weighted as they are forgotten.

    Args:
        unit: the size of one row's difference, where most rows have none (100 for correctness
            in points): one row more and one less is added to each group's squares, so that
            a few rows that all agree do not pass for certainty (Agresti and Min 2005).
    """
    m, n = strata.counts
    difference, share, squares = 0.0, 0.0, [2 * unit**2, 2 * unit**2]
    for forget, test in strata.pairs:
        groups = (scores.forget[forget], scores.test[test])
        weight = len(forget) / m
        difference += weight * float(groups[0].mean() - groups[1].mean())
        share += weight**2 / len(test)
        for g, values in enumerate(groups):
            squares[g] += float(((values - values.mean()) ** 2).sum())
    free = [max(1, count - len(strata.pairs)) for count in (m, n)]
    parts = (squares[0] / free[0] / m, squares[1] / free[1] * share)
    error = sum(parts) ** 0.5
    return _interval(difference, error, _freedom(parts, free), level)


def mean_contrast(values: Floats, *, unit: float = 0.0, level: float = 0.9) -> Contrast:
    """The mean of *values* (N,) against 0; *unit* as for `contrast`."""
    free = max(1, len(values) - 1)
    squares = float(((values - values.mean()) ** 2).sum()) + 2 * unit**2
    error = float(np.sqrt(squares / free / len(values)))
    return _interval(float(values.mean()), error, free, level)


def _freedom(parts: tuple[float, float], free: list[int]) -> float:
    """Welch and Satterthwaite's degrees of freedom of a sum of variances."""
    below = sum(part**2 / df for part, df in zip(parts, free, strict=True))
    return sum(parts) ** 2 / below if below > 0 else 1.0


def _interval(difference: float, error: float, df: float, level: float) -> Contrast:
    half = float(stdtrit(df, (1 + level) / 2)) * error
    return Contrast(difference, error, difference - half, difference + half, level)
