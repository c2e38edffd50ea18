"""Find a few remembered rows: among the highest scores, and row by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.stats import false_discovery_control, hypergeom, rankdata

from coun.audit.rank_tests import Groups, Strata
from coun.metrics.arrays import Floats, Ints

DRAWS = 19_999
LISTED = 20  # suspicious rows at most
SIZES = (1, 2, 3, 4, 5, 6, 8, 12, 16, 24, 32, 48, 64)


@dataclass(frozen=True, eq=False)
class TopTest:
    """Are there too many forgotten rows among the K highest scores?

    Attributes:
        size, forgotten: the K with the smallest hypergeometric p, and how many of the K rows
            are forgotten ones.
        expected: how many are expected by chance.
        p: of that smallest p among all K, from permutations within classes.
        null: the smallest p of each permutation, sorted.
    """

    size: int
    forgotten: int
    expected: float
    p: float
    null: Floats

    def critical(self, alpha: float) -> float:
        """The smallest p over K that is needed for a p of at most *alpha*; 0 if none is enough."""
        place = int(alpha * (len(self.null) + 1)) - 1
        return float(self.null[place]) if place >= 0 else 0.0


def top_test(strata: Strata, scores: Groups, generator: np.random.Generator) -> TopTest:
    """Test for a few forgotten rows that score far above test rows.

    A rank test averages over all forgotten rows, so it misses five remembered rows of 1,000. Here
    the statistic is the smallest hypergeometric p over K = 1, 2, 3 .. 64. Its distribution comes
    from permutations within classes, so that ties, classes and the choice of K are accounted for.

    Args:
        strata: which rows are compared, class by class.
        scores: one for each forgotten and each test row; higher means remembered.
        generator: draws the permutations.

    Returns: the K with the smallest p, and the p of that choice.

    >>> labels = np.zeros(200, int)
    >>> scores = Groups(np.append(np.full(195, -1.0), np.full(5, 9.0)), np.zeros(200))
    >>> top_test(Strata.of(labels, labels), scores, np.random.default_rng(0)).size
    5
    """
    is_forgotten, stratum = pooled_order(strata, scores, generator)
    m, n = strata.counts
    sizes = _sizes(m + n)
    seen = np.cumsum(is_forgotten)
    values = _p_values(seen, m, n)
    best = int(np.argmin(values))
    drawn = _permuted(strata, stratum[: sizes[-1]], generator)
    null = np.min(_p_values(np.cumsum(drawn, axis=1), m, n), axis=0)
    p = (1 + int((null <= values[best] * (1 + 1e-9)).sum())) / (1 + len(null))
    return TopTest(
        sizes[best], int(seen[sizes[best] - 1]), sizes[best] * m / (m + n), p, np.sort(null)
    )


def among_models(model: Floats, retrains: Floats) -> tuple[Strata, Groups]:
    """Arrange scores so that `top_test` compares a model with Retrains, row by row.

    Each row is a stratum of R + 1 models, so the permutations exchange models and not rows, and
    rows may be of any kind. A score counts by how far it is above the other models' mean for the
    same row. Each model's scores are centred and scaled, so that a model that is surer of every
    row does not stand out.

    Args: model: (N,) scores of the rows; retrains: (R, N).
    """
    every = np.vstack([model, retrains])
    count, rows = retrains.shape
    above = (every - every.mean(0)) * (count + 1) / count
    above -= np.median(above, axis=1, keepdims=True)
    scale = np.median(np.abs(above), axis=1, keepdims=True)
    above /= np.where(scale > 0, scale, 1.0)
    places = np.arange(rows * count).reshape(rows, count)
    strata = Strata(tuple((np.array([row]), places[row]) for row in range(rows)))
    return strata, Groups(above[0], above[1:].T.ravel())


def shared_with_neighbour(retrains: Floats, features: Sequence[Floats]) -> float:
    """Tell how much of what sets Retrains apart on a row is shared by the row most like it.

    `among_models` exchanges models row by row, as if they differed on each row by itself. On the
    pictures of one customer they do not: the Retrain that is surest of one is surest of all.

    Args: retrains: (R, N) scores; features: (N, D) of each Retrain, which say what rows are alike.

    Returns: the correlation of ranks of a row's scores, less the other Retrains', with those of
        its nearest neighbour: near 0 for rows that have nothing in common, near 1 for copies.

    >>> rng = np.random.default_rng(0)
    >>> rows, scores = rng.normal(size=(40, 3)), rng.normal(size=(3, 40))
    >>> alone = shared_with_neighbour(scores, [rows])
    >>> twice = shared_with_neighbour(np.tile(scores, 2), [np.tile(rows, (2, 1))])
    >>> abs(alone) < 0.3, round(twice, 2)
    (True, 1.0)
    """
    from sklearn.neighbors import NearestNeighbors

    if retrains.shape[1] < 2:
        return 0.0
    columns = np.hstack([values / (values.std() or 1.0) for values in features])
    near = NearestNeighbors(n_neighbors=2).fit(columns).kneighbors(return_distance=False)[:, 0]
    ranks = np.stack([rankdata(row) for row in retrains - retrains.mean(0)])
    ranks -= ranks.mean(1, keepdims=True)
    size = float((ranks**2).sum())
    return float((ranks * ranks[:, near]).sum()) / size if size else 0.0


def smallest_p(strata: Strata, scores: Groups, generator: np.random.Generator) -> float:
    """The statistic of `top_test` without its permutations."""
    seen = np.cumsum(pooled_order(strata, scores, generator)[0])
    return float(min(_p_values(seen, *strata.counts)))


def pooled_order(
    strata: Strata, scores: Groups, generator: np.random.Generator
) -> tuple[Ints, Ints]:
    """Whether each row is a forgotten one, and its stratum, from the highest score down.

    Ties are ordered at random.
    """
    values, forgotten, stratum = [], [], []
    for number, (forget, test) in enumerate(strata.pairs):
        values.append(np.concatenate([scores.forget[forget], scores.test[test]]))
        forgotten.append(np.repeat([1, 0], [len(forget), len(test)]))
        stratum.append(np.full(len(forget) + len(test), number))
    pooled = np.concatenate(values)
    order = np.lexsort((generator.random(len(pooled)), -pooled))
    return np.concatenate(forgotten)[order], np.concatenate(stratum)[order]


def _sizes(rows: int) -> tuple[int, ...]:
    """Those of `SIZES` that so many rows have."""
    return tuple(k for k in SIZES if k <= rows)


def _p_values(seen: Ints, m: int, n: int) -> list[Floats]:
    """For each K the p of as many of m forgotten rows, or more, among the K highest of m + n.

    Args: seen: how many of the first 1, 2, 3 .. rows are forgotten ones, (..., rows).
    """
    sizes = _sizes(m + n)
    return [p[seen[..., k - 1]] for k, p in zip(sizes, _table(sizes, m, n), strict=True)]


@lru_cache(maxsize=16)
def _table(sizes: tuple[int, ...], m: int, n: int) -> list[Floats]:
    """For each K the p of seeing 0..K forgotten rows or more."""
    return [hypergeom.sf(np.arange(k + 1) - 1, m + n, m, k) for k in sizes]


def _permuted(strata: Strata, stratum: Ints, generator: np.random.Generator) -> Ints:
    """Random groups of the top rows under permutations within classes, (draws, K).

    Rows are drawn one by one without replacement from the rows that their class has left, so the
    rows below the top need not be permuted.
    """
    drawn = np.zeros((DRAWS, len(stratum)), np.int64)
    present, column = np.unique(stratum, return_inverse=True)
    sizes = np.array([[len(group) for group in strata.pairs[c]] for c in present])
    forget, total = sizes[None, :, 0].repeat(DRAWS, 0), sizes.sum(1)[None].repeat(DRAWS, 0)
    for place, c in enumerate(column):
        hit = generator.random(DRAWS) * total[:, c] < forget[:, c]
        drawn[:, place] = hit
        forget[:, c] -= hit
        total[:, c] -= 1
    return drawn


@dataclass(frozen=True)
class SuspiciousRow:
    """A forgotten row that scores unusually high.

    Attributes:
        slot: its position among the forgotten rows.
        p: share of test rows of its class that score as high, itself counted (conformal).
        q: p after Benjamini and Hochberg: the share of false alarms in the list down to here.
    """

    slot: int
    p: float
    q: float


def suspicious_rows(strata: Strata, scores: Groups) -> list[SuspiciousRow]:
    """List the forgotten rows that test rows of their class exceed most rarely.

    Each p is valid on its own if rows are exchangeable: it is at most t with probability t.

    Args:
        strata: which rows are compared, class by class.
        scores: one for each forgotten and each test row; higher means remembered.

    Returns: at most `LISTED` rows, the most suspicious first.

    Source: Bates et al. 2023, "Testing for outliers with conformal p-values": Benjamini and
        Hochberg's correction holds for conformal p-values that share their reference rows.

    >>> strata = Strata(((np.arange(2), np.arange(9)),))  # 2 forgotten and 9 test rows of a class
    >>> scores = Groups(np.array([5.0, 0.1]), np.linspace(0, 1, 9))
    >>> [(row.slot, row.p) for row in suspicious_rows(strata, scores)]
    [(0, 0.1), (1, 0.9)]
    """
    slots, ps = [], []
    for forget, test in strata.pairs:
        order = np.sort(scores.test[test])
        above = len(order) - np.searchsorted(order, scores.forget[forget], side="left")
        slots.append(forget)
        ps.append((1 + above) / (1 + len(order)))
    every, p = np.concatenate(slots), np.concatenate(ps)
    q = false_discovery_control(p)
    strongest = np.lexsort((-scores.forget[every], p))[:LISTED]
    return [SuspiciousRow(int(every[k]), float(p[k]), float(q[k])) for k in strongest]
