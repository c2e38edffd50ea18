"""Compare forgotten rows with test rows of the same class, by ranks and by permutations.

A random or class-wise request draws its rows as the test rows were drawn. For a model that never
saw the forgotten rows, and for any Retrain, the group of a row then says nothing about its score.
Every test here rests on that alone. It does not matter how models work or how alike they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr, stdtrit
from scipy.stats import rankdata

from coun.errors import CounError
from coun.metrics.arrays import Floats, Ints

LEVEL = 0.9  # of intervals
DRAWS = 9_999  # permutations at most
ENOUGH = 200  # permutations at least as extreme as the data, after which drawing stops
WORK = 2_000_000  # permuted values that are held in memory at a time
FEW = 200  # from this size of the smaller group on, the normal approximation is used


class Groups(NamedTuple):
    """One number for each forgotten row (M,) and for each test row (O,).

    >>> scores = Groups(forget=np.array([2.5]), test=np.array([0.5, 1.5]))
    >>> scores.forget.shape, scores.test.shape
    ((1,), (2,))
    """

    forget: Floats
    test: Floats


def minus(a: Groups, b: Groups) -> Groups:
    """Subtract *b* from *a*, row by row."""
    return Groups(a.forget - b.forget, a.test - b.test)


@dataclass(frozen=True, eq=False)
class Strata:
    """Positions of forgotten and of test rows: one pair for each class that both have.

    Attributes:
        pairs: positions among the forgotten rows and among the test rows, of one class each.

    >>> strata = Strata.of(np.array([0, 0, 1]), np.array([1, 0, 2]))  # labels; class 2 has no pair
    >>> [(forget.tolist(), test.tolist()) for forget, test in strata.pairs]
    [([0, 1], [1]), ([2], [0])]
    """

    pairs: tuple[tuple[Ints, Ints], ...]

    @classmethod
    def of(cls, forget: Ints, test: Ints, among: Ints | None = None) -> Strata:
        """Make strata from the labels of all forgotten rows (M,) and test rows (O,).

        Args:
            among: positions of the forgotten rows that take part; all by default.

        Raises: CounError if no class occurs in both groups.
        """
        takes_part = np.ones(len(forget), bool)
        if among is not None:
            takes_part = np.isin(np.arange(len(forget)), among)
        shared = np.intersect1d(forget[takes_part], test)
        if len(shared) == 0:
            raise CounError("no test row has the class of a forgotten row; add such test rows")
        pairs = ((np.flatnonzero((forget == c) & takes_part), test == c) for c in shared)
        return cls(tuple((rows, np.flatnonzero(same)) for rows, same in pairs))

    @property
    def counts(self) -> tuple[int, int]:
        """Number of forgotten rows and of test rows that take part."""
        return sum(len(f) for f, _ in self.pairs), sum(len(t) for _, t in self.pairs)


@dataclass(frozen=True)
class RankTest:
    """The result of a stratified two-sample rank test.

    Attributes:
        effect: P(forgotten > test row of its class) - 1/2, where ties count half; -0.5..0.5.
        error: its standard deviation where groups are exchangeable.
        p: from permutations, or from the normal distribution where the smaller group has 200
            rows or more.
        permutations: how many were drawn; 0 for the normal approximation.

    >>> RankTest(effect=0.2, error=0.05, p=0.001, permutations=9_999).z
    4.0
    """

    effect: float
    error: float
    p: float
    permutations: int

    @property
    def z(self) -> float:
        """The effect in standard deviations; 0 where all scores are equal."""
        return self.effect / self.error if self.error > 0 else 0.0


def rank_test(
    strata: Strata,
    scores: Groups,
    generator: np.random.Generator | None = None,
    *,
    greater: bool = False,
) -> RankTest:
    """Test whether forgotten rows score as test rows of their class do.

    Args:
        strata: which rows are compared, class by class.
        scores: one for each forgotten and each test row.
        generator: for permutations within classes, which are used where there are few rows;
            without a generator the normal approximation is used there too.
        greater: test one side only: do forgotten rows score *more*?

    Returns: the effect, its error and its p.

    Source: van Elteren 1960: Wilcoxon's rank sum of each class, weighted by 1 / (rows + 1). The
        variance is the one over all permutations, ties included. Besag and Clifford 1991:
        permutations are drawn until 200 are as extreme as the data; p is exact for any such stop.

    >>> labels = np.zeros(3, int)
    >>> strata = Strata.of(labels, labels)
    >>> scores = Groups(np.array([4.0, 5.0, 6.0]), np.array([1.0, 2.0, 3.0]))
    >>> round(rank_test(strata, scores).effect, 6)
    0.5
    """
    classes, total, pairs, variance = [], 0.0, 0.0, 0.0
    for forget, test in strata.pairs:
        values = np.concatenate([scores.forget[forget], scores.test[test]])
        m, rows = len(forget), len(values)
        ranks = _centred_ranks(values)
        classes.append((ranks, m))
        total += ranks[:m].sum()
        pairs += m * (rows - m) / (rows + 1)
        variance += m * (rows - m) / (rows * (rows - 1)) * (ranks**2).sum()
    error = float(np.sqrt(variance)) / pairs
    if error == 0:
        return RankTest(0.0, 0.0, 1.0, 0)
    if generator is not None and min(strata.counts) < FEW:
        p, draws = _permutation_p(classes, total, generator, greater)
        return RankTest(float(total / pairs), error, p, draws)
    z = total / pairs / error
    p = float(ndtr(-z)) if greater else float(2 * ndtr(-abs(z)))
    return RankTest(float(total / pairs), error, p, 0)


def _centred_ranks(values: Floats) -> Floats:
    """Ranks of *values* (n,) with mean 0, divided by n + 1: van Elteren's weight of a class."""
    beyond = len(values) + 1
    ranks: Floats = (rankdata(values) - beyond / 2) / beyond
    return ranks


def _permutation_p(
    classes: Sequence[tuple[Floats, int]],
    total: float,
    generator: np.random.Generator,
    greater: bool,
) -> tuple[float, int]:
    """p of the rank sum *total*, and the number of permutations that were drawn for it."""
    rows = sum(len(ranks) for ranks, _ in classes)
    draws = extreme = 0
    while draws < DRAWS:
        size = min(DRAWS - draws, max(1, WORK // rows), max(500, draws))
        sums = np.sum(
            [
                generator.permuted(np.tile(ranks, (size, 1)), axis=1)[:, :m].sum(1)
                for ranks, m in classes
            ],
            axis=0,
        )
        hits = sums >= total - 1e-9 if greater else np.abs(sums) >= abs(total) - 1e-9
        if extreme + hits.sum() >= ENOUGH:
            last = int(np.flatnonzero(hits)[ENOUGH - extreme - 1]) + 1
            return ENOUGH / (draws + last), draws + last
        draws, extreme = draws + size, extreme + int(hits.sum())
    return (1 + extreme) / (1 + draws), draws


def shared_slope(strata: Strata, model: Groups, retrains: Groups) -> float:
    """Fit the slope of the model's scores on the Retrains', by least squares within classes."""
    above = below = 0.0
    for rows in strata.pairs:
        x, y = (
            np.concatenate([part[r] for part, r in zip(scores, rows, strict=True)])
            for scores in (retrains, model)
        )
        x = x - x.mean()
        above += float(x @ y)
        below += float(x @ x)
    return above / below if below > 0 else 0.0


def residualise(strata: Strata, model: Groups, retrains: Groups) -> Groups:
    """Subtract from the model's scores what the Retrains' scores of the same rows explain.

    The slope is fitted on forgotten and test rows together, without regard to which is which, so
    exchangeable rows stay exchangeable. A rank test then has less noise than on a plain
    difference, because another model's score predicts a row's score only in part.

    Args:
        strata: which rows are compared, class by class.
        model, retrains: scores of the same rows; those of several models are averaged before.

    Returns: what is left of the model's scores.

    >>> strata = Strata(((np.arange(3), np.arange(3)),))
    >>> retrains = Groups(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 3.0]))
    >>> model = Groups(2 * retrains.forget, 2 * retrains.test)  # a Retrain's scores explain them
    >>> residualise(strata, model, retrains).forget.round(9).tolist()
    [0.0, 0.0, 0.0]
    """
    slope = shared_slope(strata, model, retrains)
    return Groups(*(a - slope * b for a, b in zip(model, retrains, strict=True)))


def average_by_owner(
    strata: Strata, scores: Groups, owners: tuple[Ints, Ints]
) -> tuple[Strata, Groups]:
    """Replace rows by their owners, so that a rank test permutes whole owners (customers).

    An owner's value is the mean rank of the owner's rows within their classes. Test rows of an
    owner who also has forgotten rows are left out, because they are not independent of them.

    Args: owners: a number for each forgotten row (M,) and for each test row (O,).

    Returns: strata with a single class, and one value for each owner.
    """
    ranks = [np.full(len(part), np.nan) for part in scores]
    for forget, test in strata.pairs:
        values = np.concatenate([scores.forget[forget], scores.test[test]])
        ranks[0][forget], ranks[1][test] = np.split(_centred_ranks(values), [len(forget)])
    ranks[1][np.isin(owners[1], owners[0])] = np.nan
    means = []
    for values, owner in zip(ranks, owners, strict=True):
        used = ~np.isnan(values)
        _, number = np.unique(owner[used], return_inverse=True)
        means.append(np.bincount(number, values[used]) / np.maximum(np.bincount(number), 1))
    if min(map(len, means)) == 0:
        raise CounError("no test row belongs to an owner without forgotten rows; add such rows")
    single = Strata.of(np.zeros(len(means[0]), np.int64), np.zeros(len(means[1]), np.int64))
    return single, Groups(*means)


@dataclass(frozen=True)
class MeanDifference:
    """A difference of means, its standard error and its interval at *level*.

    >>> MeanDifference(0.5, error=0.1, low=0.3, high=0.7, level=0.9).within(2.0)
    True
    """

    difference: float
    error: float
    low: float
    high: float
    level: float

    def within(self, margin: float) -> bool:
        """Say whether two one-sided tests at (1 - level) / 2 place it nearer to 0 than *margin*."""
        return -margin < self.low and self.high < margin


def mean_difference(strata: Strata, scores: Groups, *, unit: float = 0.0) -> MeanDifference:
    """Mean over forgotten rows minus mean over test rows, weighted by forgotten rows per class.

    Args:
        strata: which rows are compared, class by class.
        scores: one for each forgotten and each test row.
        unit: the size of one row's difference, where most rows have none (100 for correctness
            in points): one row more and one less is added to each group's squares, so that a
            few rows that all agree do not count as certainty (Agresti and Min 2005).

    Returns: the difference with its standard error and interval.

    >>> strata = Strata(((np.arange(2), np.arange(2)),))  # one class, two rows on each side
    >>> scores = Groups(np.array([2.0, 4.0]), np.array([1.0, 1.0]))
    >>> mean_difference(strata, scores).difference
    2.0
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
    variances = (squares[0] / free[0] / m, squares[1] / free[1] * share)
    total = sum(variances)
    below = sum(part**2 / df for part, df in zip(variances, free, strict=True))
    df = total**2 / below if below > 0 else 1.0  # Welch and Satterthwaite
    return interval(difference, total**0.5, df)


def interval(difference: float, error: float, df: float) -> MeanDifference:
    """A t interval around *difference* at the level `LEVEL`."""
    half = float(stdtrit(df, (1 + LEVEL) / 2)) * error
    return MeanDifference(difference, error, difference - half, difference + half, LEVEL)
