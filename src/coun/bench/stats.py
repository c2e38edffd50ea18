"""Means with intervals, paired tests, corrections and rank stability, over seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats


class Interval(NamedTuple):
    """A mean with its confidence interval; low and high are nan for a single value."""

    mean: float
    low: float
    high: float


def mean_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """Student's interval of the mean of *values*."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return Interval(mean, math.nan, math.nan)
    half = float(stats.t.ppf((1 + level) / 2, len(values) - 1) * stats.sem(values))
    return Interval(mean, mean - half, mean + half)


def paired(a: Sequence[float], b: Sequence[float]) -> float:
    """Two-sided p of a paired t-test; nan for fewer than two pairs, 1 for equal values."""
    if len(a) < 2:
        return math.nan
    if np.ptp(difference := np.subtract(a, b)) == 0:
        return 1.0 if difference[0] == 0 else 0.0
    return float(stats.ttest_rel(a, b).pvalue)


def holm(values: Mapping[str, float]) -> dict[str, float]:
    """Holm's step-down correction of p-values by name; nan stays nan and is not counted."""
    known = sorted((p, name) for name, p in values.items() if not math.isnan(p))
    found, highest = {name: math.nan for name in values}, 0.0
    for place, (p, name) in enumerate(known):
        highest = max(highest, min(1.0, p * (len(known) - place)))
        found[name] = highest
    return found


def rank_stability(
    values: Mapping[str, Sequence[float]], resamples: int = 2000, seed: int = 0
) -> dict[str, list[float]]:
    """Share of bootstrap resamples of the seeds in which each name has rank 1, 2, ...

    Args: values: one number a seed, smaller is better; the same seeds in the same order.
    """
    table = np.array(list(values.values()), dtype=float)
    count = table.shape[1]
    draws = np.random.default_rng(seed).integers(0, count, (resamples, count))
    means = table[:, draws].mean(-1)  # (names, resamples)
    ranks = means.argsort(0, kind="stable").argsort(0, kind="stable")
    return {
        name: [float((ranks[row] == place).mean()) for place in range(len(table))]
        for row, name in enumerate(values)
    }
