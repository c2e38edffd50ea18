"""Does a forgotten class go where Retrain sends it, and is that where its meaning is near?"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy  # scipy.stats takes half a second to import; as an attribute it is loaded on use

from coun.errors import CounError
from coun.metrics.accuracies import confusion
from coun.metrics.arrays import Floats, Values, floats, pair
from coun.metrics.representation import centroid_similarities

EXACT = 9  # classes up to which all orders are tried: 9! = 362,880


def prediction_rows(logits: Values, labels: Values) -> Floats:
    """Percent of each class's samples predicted as each class, (K, K); rows sum to 100.

    The row of a forgotten class, of its forget samples, is the form of CoUn's tables 1, 5
    and 6. NaN for a class without samples.
    """
    counts = confusion(logits, labels)
    with np.errstate(invalid="ignore"):
        rows: Floats = 100.0 * counts / counts.sum(1, keepdims=True)
    return rows


def row_difference(row: Values, retrain: Values, classes: Sequence[int] | None = None) -> float:
    """Mean |difference| in points between two prediction rows (K,), over *classes* or all.

    Source: CoUn's "Avg. Diff", over the classes that a table lists.
    """
    mine, theirs = pair(row, retrain, "prediction rows", 1)
    chosen = slice(None) if classes is None else list(classes)
    return float(np.abs(mine - theirs)[chosen].mean())


def class_similarities(centres: Values, forgotten: int) -> Floats:
    """Cosine similarity of the centroid of class *forgotten* to every centroid (K, D), (K,)."""
    found = floats(centres, "centroids", 2)
    return centroid_similarities(found[[forgotten]], found)


@dataclass(frozen=True)
class Correlation:
    """A rank correlation over *classes*, its two-sided p-value, and how many orders gave it."""

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
    """Spearman correlation of a forgotten class's similarities with Retrain's predictions.

    Args:
        similarities: to every class (K,), as of `class_similarities`.
        row: percent predicted as every class (K,), as of `prediction_rows`.
        forgotten: left out, as is a class with NaN.
        permutations: orders drawn by *generator* where there are more than 9 retained classes;
            below that all orders are tried and nothing is drawn.

    Returns: rho and p are NaN where all values of one side are equal.

    Raises: CounError with fewer than 3 retained classes.
    """
    near, sent = pair(similarities, row, "similarities and predictions", 1)
    kept = ~np.isnan(near) & ~np.isnan(sent)
    kept[forgotten] = False
    count = int(kept.sum())
    if count < 3:
        raise CounError(f"{count} retained classes; a rank correlation needs at least 3")
    first, second = _standard_ranks(near[kept]), _standard_ranks(sent[kept])
    rho = float(first @ second)
    exact = count <= EXACT
    if exact:
        orders = second[np.array(list(itertools.permutations(range(count))))]
    else:
        orders = generator.permuted(np.tile(second, (permutations, 1)), axis=1)
    # Equal correlations differ by rounding; an exact count includes the order itself.
    extreme = int((np.abs(orders @ first) >= abs(rho) - 1e-9).sum())
    tried = len(orders)
    p = extreme / tried if exact else (extreme + 1) / (tried + 1)
    return Correlation(rho, float("nan") if np.isnan(rho) else p, count, tried, exact)


def _standard_ranks(values: Floats) -> Floats:
    """Ranks (ties share theirs), centred and of length 1; NaN if all are equal."""
    ranks = scipy.stats.rankdata(values)
    ranks = ranks - ranks.mean()
    with np.errstate(invalid="ignore"):
        found: Floats = ranks / np.linalg.norm(ranks)
    return found
