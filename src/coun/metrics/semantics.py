"""Whether a forgotten class is predicted as in Retrain, and as the classes it resembles."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import scipy  # scipy.stats takes half a second to import; as an attribute it is loaded on use

from coun.errors import CounError
from coun.metrics.accuracies import confusion
from coun.metrics.arrays import Floats, Ints, Values, floats, pair
from coun.metrics.representation import centroid_similarities

EXACT = 9  # with at most so many classes all orders are tried: 9! = 362,880


def prediction_rows(logits: Values, labels: Values) -> Floats:
    """Compute how many percent of each class's rows are predicted as each class, (K, K).

    The line of a forgotten class, for its forget rows, is what CoUn's tables 1, 5 and 6 show.

    Args: logits: (N, K); labels: (N,).

    Returns: one line per class, which sums to 100; NaN for a class without rows.

    >>> prediction_rows([[2.0, 1.0], [0.0, 3.0]], [0, 0])[0].tolist()
    [50.0, 50.0]
    """
    counts = confusion(logits, labels)
    with np.errstate(invalid="ignore"):
        rows: Floats = 100.0 * counts / counts.sum(1, keepdims=True)
    return rows


def row_difference(row: Values, retrain: Values, classes: Sequence[int] | None = None) -> float:
    """Compute the mean |difference| between two prediction rows, in points.

    Args: row, retrain: percentages (K,); classes: those to average over, by default all.

    Source: CoUn's "Avg. Diff", over the classes that a table lists.

    >>> row_difference([60.0, 40.0], [50.0, 50.0])
    10.0
    """
    first, second = pair(row, retrain, "prediction rows", 1)
    chosen = slice(None) if classes is None else list(classes)
    return float(np.abs(first - second)[chosen].mean())


def class_similarities(centres: Values, forgotten: int) -> Floats:
    """Compute the cosine similarity of the centroid of one class to every centroid, (K,).

    Args: centres: `centroids`, (K, D); forgotten: the class.

    >>> class_similarities([[1.0, 0.0], [0.0, 2.0]], forgotten=0).tolist()
    [1.0, 0.0]
    """
    rows = floats(centres, "centroids", 2)
    return centroid_similarities(rows[[forgotten]], rows)


@dataclass(frozen=True)
class Correlation:
    """A rank correlation.

    Attributes:
        rho: the correlation, -1..1.
        p: two-sided.
        classes: their number.
        permutations: the number of orders behind *p*.
        exact: whether these are all orders.

    >>> similarities, predicted = [1.0, 0.9, 0.5, 0.1], [0.0, 50.0, 30.0, 20.0]  # percent
    >>> generator = np.random.default_rng(0)
    >>> result = semantic_correlation(similarities, predicted, 0, generator=generator)
    >>> round(result.rho, 6), result.classes
    (1.0, 3)
    """

    rho: float
    p: float
    classes: int
    permutations: int
    exact: bool


def semantic_correlation(
    similarities: Values,
    row: Values,
    forgotten: int,
    *,
    generator: np.random.Generator,
    permutations: int = 9_999,
) -> Correlation:
    """Correlate a forgotten class's similarities to other classes with Retrain's predictions.

    It is Spearman's rank correlation with a permutation test.

    Args:
        similarities: to every class, (K,), from `class_similarities`.
        row: the percentage predicted as every class, (K,), from `prediction_rows`.
        forgotten: this class is left out, as is a class with NaN.
        generator: draws the orders.
        permutations: the number of orders that are drawn where there are more than 9 retained
            classes; otherwise all orders are tried and none is drawn.

    Returns: a correlation whose rho and p are NaN where all values of one side are equal.

    Raises: CounError with fewer than 3 retained classes.

    >>> similarities, row = np.array([1.0, 0.9, 0.5, 0.1]), np.array([0.0, 60.0, 30.0, 10.0])
    >>> generator = np.random.default_rng(0)
    >>> result = semantic_correlation(similarities, row, 0, generator=generator)
    >>> round(result.rho, 6), result.exact
    (1.0, True)
    """
    near, predicted = pair(similarities, row, "similarities and predictions", 1)
    usable = ~np.isnan(near) & ~np.isnan(predicted)
    usable[forgotten] = False
    count = int(usable.sum())
    if count < 3:
        raise CounError(f"{count} retained classes; a rank correlation needs at least 3")
    first, second = _standard_ranks(near[usable]), _standard_ranks(predicted[usable])
    rho = float(first @ second)
    exact = count <= EXACT
    if exact:
        orders = second[_all_orders(count)]
    else:
        orders = generator.permuted(np.tile(second, (permutations, 1)), axis=1)
    # Equal correlations may differ by rounding errors. All orders include the observed one; a
    # sample of orders does not, so one is added.
    extreme = int((np.abs(orders @ first) >= abs(rho) - 1e-9).sum())
    tried = len(orders)
    p = extreme / tried if exact else (extreme + 1) / (tried + 1)
    return Correlation(rho, float("nan") if np.isnan(rho) else p, count, tried, exact)


@cache
def _all_orders(count: int) -> Ints:
    """All orders of *count* things, (count!, count)."""
    return np.array(list(itertools.permutations(range(count))))


def _standard_ranks(values: Floats) -> Floats:
    """Ranks (equal values share one), centred and scaled to length 1; NaN if all are equal."""
    ranks = scipy.stats.rankdata(values)
    ranks = ranks - ranks.mean()
    with np.errstate(invalid="ignore"):
        unit: Floats = ranks / np.linalg.norm(ranks)
    return unit
