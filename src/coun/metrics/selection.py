"""Comparisons with the best that stay valid although the data chose the best."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import numpy as np

from coun.errors import CounError
from coun.metrics.arrays import Floats, Values, floats

EXACT = 12  # seeds up to which all sign flips are taken
FLIPS = 4_095


def worse_than_best(
    scores: Mapping[str, Values], *, higher_is_better: bool = False
) -> dict[str, float]:
    """p of each method being as good as the best one, over seeds.

    To test every row of a table against the row with the best mean is not valid: the best is
    partly best by luck, so with 22 equal methods and 8 seeds some row is declared worse in 18% of
    experiments at a nominal 5%. Here the largest standardised difference to any other method is
    compared with the largest over *all* pairs of methods under random flips of the seeds' signs.
    The chance that any of the truly best methods gets a p below 5% is at most 5%.

    Args:
        scores: per method one value per seed (n,), in the same order of seeds, such as average
            gaps. Methods of one seed share their data, so differences are taken within seeds.
        higher_is_better: whether large values are good; by default small ones are.

    Returns: p by method, corrected for all pairs. It is at least 2 ** (1 - n): with fewer than 6
        seeds no method can be declared worse at 5%. The best method by the mean has p near 1.

    Raises: CounError if there are no methods, or methods with different numbers of seeds.

    Source: Westfall and Young 1993, single-step max-T, with sign flips as the randomisation.

    >>> gaps = {"coun": np.arange(8.0), "neggrad": np.arange(8.0) + [5, 6, 5, 4, 5, 6, 4, 5]}
    >>> p = worse_than_best(gaps)
    >>> p["coun"] > 0.5, p["neggrad"] < 0.01
    (True, True)
    """
    rows = [floats(values, f"scores of {name}", 1) for name, values in scores.items()]
    if len({len(row) for row in rows}) != 1:
        raise CounError(
            f"numbers of seeds {[len(row) for row in rows]}; expected the same seeds for each "
            "method"
        )
    table = np.stack(rows) * (-1.0 if higher_is_better else 1.0)
    methods, count = table.shape
    if methods < 2 or count < 2:
        return dict.fromkeys(scores, 1.0)
    difference = table[:, None] - table[None]  # (methods, methods, seeds); above 0: row is worse
    scale = np.sqrt((difference**2).sum(2))
    unit = difference / np.where(scale == 0, 1, scale)[:, :, None]
    observed = unit.sum(2).max(1)
    largest = np.array([np.abs(unit @ flip).max() for flip in _flips(count)])
    p = (largest[None] >= observed[:, None] - 1e-9).mean(1)
    return dict(zip(scores, p.tolist(), strict=True))


def _flips(count: int) -> Floats:
    """Signs (F, n): all with the first one positive, or the identity and random ones."""
    if count <= EXACT:
        return np.array([(1.0, *rest) for rest in product((1.0, -1.0), repeat=count - 1)])
    signs: Floats = np.random.default_rng(0).choice([-1.0, 1.0], (FLIPS, count))
    return np.concatenate([np.ones((1, count)), signs])
