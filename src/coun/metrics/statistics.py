"""What a few seeds allow us to say: intervals, tests, equivalence, and the stability of ranks."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy  # scipy.stats takes half a second to import; as an attribute it is loaded on use

from coun.errors import CounError
from coun.metrics.arrays import Values, floats, pair


@dataclass(frozen=True)
class Mean:
    """A mean of *n* values, their sample standard deviation and the t interval of the mean.

    Of a single value, everything but the mean is NaN.

    Attributes:
        std: with n - 1 in the denominator.
        half_width, low, high: the interval is mean +/- half_width, and low..high within the limits.
        level: the confidence of the interval, 0..1.

    >>> accuracy = mean_interval([93.0, 94.0, 95.0])
    >>> f"{accuracy.mean:.1f} +/- {accuracy.half_width:.1f} over {accuracy.n} seeds"
    '94.0 +/- 2.5 over 3 seeds'
    """

    mean: float
    std: float
    half_width: float
    low: float
    high: float
    n: int
    level: float


def mean_interval(
    values: Values, level: float = 0.95, *, limits: tuple[float, float] = (-math.inf, math.inf)
) -> Mean:
    """Estimate the mean of *values* (n,) with a t interval: mean +/- t_{n-1} s / sqrt(n).

    Args:
        values: one per seed, in any unit.
        level: of confidence, between 0 and 1.
        limits: between which every possible mean lies. The interval is cut there; because the cut
            removes only impossible means, it contains the true one as often as before.

    Raises: CounError if *level* is out of range or there are no values.

    >>> interval = mean_interval([1.0, 2.0, 3.0])
    >>> round(interval.low, 2), interval.mean, round(interval.high, 2)
    (-0.48, 2.0, 4.48)
    """
    numbers, level = floats(values, "values", 1), _fraction(level, "level")
    mean, n = float(numbers.mean()), len(numbers)
    std = float(numbers.std(ddof=1)) if n > 1 else float("nan")
    half = float(scipy.stats.t.ppf((1 + level) / 2, max(1, n - 1))) * std / n**0.5
    low, high = map(float, np.clip([mean - half, mean + half], *limits))
    return Mean(mean, std, half, low, high, n, level)


@dataclass(frozen=True)
class Comparison:
    """A t test of a difference of means: the difference, t, degrees of freedom, two-sided p.

    >>> compared = welch([1.0, 2.0, 3.0], [2.0, 4.0, 6.0])
    >>> compared.difference, round(compared.df, 1)
    (-2.0, 2.9)
    """

    difference: float
    t: float
    df: float
    p: float


def welch(a: Values, b: Values) -> Comparison:
    """Compare the means of two independent samples by Welch's t test.

    Args: a, b: (n,) and (m,).

    Returns: mean(a) - mean(b) and its p; NaN if either has only one value.

    >>> round(welch([1.0, 2.0, 3.0], [2.0, 4.0, 6.0]).p, 3)
    0.221
    """
    return _comparison(a, b, by_seed=False)


def paired(a: Values, b: Values) -> Comparison:
    """Compare the means of two samples with the same seeds in the same order by a paired t test.

    Prefer it to `welch` where runs share a seed, and so the Original, the forget rows and the
    Retrain.

    Args: a, b: (n,) each.

    Returns: the mean of a - b and its p; NaN for n = 1.

    >>> paired([1.0, 2.0, 3.0], [2.0, 3.0, 4.5]).df
    2.0
    """
    return _comparison(a, b, by_seed=True)


def _comparison(a: Values, b: Values, *, by_seed: bool) -> Comparison:
    test, difference = _t_test(a, b, by_seed=by_seed)
    return Comparison(difference, float(test.statistic), float(test.df), float(test.pvalue))


@dataclass(frozen=True)
class Equivalence:
    """Two one-sided tests of |difference| < margin.

    Attributes:
        difference: of the means.
        low, high: the 1 - 2 alpha interval of the difference.
        p: the larger one of the two tests.
        equivalent: whether p < alpha.

    >>> result = equivalence([1.0, 1.1, 0.9], [1.0, 1.0, 1.0], margin=0.5)
    >>> round(result.low, 2), round(result.high, 2), result.equivalent
    (-0.17, 0.17, True)
    """

    difference: float
    low: float
    high: float
    margin: float
    p: float
    equivalent: bool


def equivalence(
    a: Values, b: Values, *, margin: float, by_seed: bool = True, alpha: float = 0.05
) -> Equivalence:
    """Test whether two means are closer to each other than *margin* (TOST).

    A t test that finds no difference does not show that there is none; this test does. Its p
    is the larger one of the two one-sided tests; of one value on each side it is NaN, so that
    equivalence is not shown.

    Args:
        a, b: (n,) and (m,), in the unit of *margin*.
        margin: the smallest difference that would matter.
        by_seed: paired tests (n = m) as in `paired`, else independent samples as in `welch`.
        alpha: the level of the test.

    Raises: CounError unless margin > 0 and 0 < alpha < 0.5.

    Source: Schuirmann 1987.

    >>> equivalence([1.0, 1.1, 0.9], [1.0, 1.0, 1.0], margin=0.5).equivalent
    True
    """
    if not (margin > 0 and 0 < alpha < 0.5):
        raise CounError(f"margin {margin}, alpha {alpha}; expected margin > 0, 0 < alpha < 0.5")
    test, difference = _t_test(a, b, by_seed=by_seed)
    below, _ = _t_test(a, b, by_seed=by_seed, shift=-margin, alternative="less")
    above, _ = _t_test(a, b, by_seed=by_seed, shift=margin, alternative="greater")
    p = float(np.maximum(below.pvalue, above.pvalue))
    interval = test.confidence_interval(1 - 2 * alpha)
    low, high = float(interval.low), float(interval.high)
    return Equivalence(difference, low, high, margin, p, p < alpha)


def _t_test(
    a: Values, b: Values, *, by_seed: bool, shift: float = 0.0, alternative: str = "two-sided"
) -> tuple[Any, float]:
    """SciPy's result of comparing a + shift with b, and the mean of a - b.

    SciPy warns of samples with one value and of samples without spread; here the first give
    NaN and the second their limit, an infinite t, without a warning.
    """
    if by_seed:
        first, second = pair(a, b, "paired samples", 1)
    else:
        first, second = (floats(x, "samples", 1) for x in (a, b))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        if by_seed:
            test = scipy.stats.ttest_1samp(first - second, -shift, alternative=alternative)
            return test, float((first - second).mean())
        test = scipy.stats.ttest_ind(
            first + shift, second, equal_var=False, alternative=alternative
        )
        return test, float(first.mean() - second.mean())


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Correct p-values for their number by Holm's step-down procedure.

    Args:
        p_values: by name of the test. NaN, of a test that could not be made, stays NaN and is
            not counted.

    Returns: adjusted p-values; one below alpha is significant among all of them.

    Raises: CounError if a p-value is not in 0..1.

    Source: Holm 1979.

    >>> holm({"FT": 0.04, "NoT": 0.01})
    {'FT': 0.04, 'NoT': 0.02}
    """
    made = {name: p for name, p in p_values.items() if not np.isnan(p)}
    for name, p in made.items():
        if not 0 <= p <= 1:
            raise CounError(f"p of {name} is {p}; expected 0..1")
    adjusted, running, left = dict.fromkeys(p_values, float("nan")), 0.0, len(made)
    for name, p in sorted(made.items(), key=lambda item: item[1]):
        running = max(running, min(1.0, left * p))
        adjusted[name] = running
        left -= 1
    return adjusted


def rank_shares(
    scores: Mapping[str, Values], *, generator: np.random.Generator, resamples: int = 10_000
) -> dict[str, list[float]]:
    """Estimate by a bootstrap over seeds how often other seeds would give a method each rank.

    Seeds are resampled for all methods together. Rank 1 has the smallest mean; ties get the lower
    rank.

    Args:
        scores: by method one value per seed, (n,), such as average gaps; all methods have the
            same seeds in the same order.
        generator: draws the seeds.
        resamples: the number of bootstrap samples.

    Returns: by method the shares of resamples with rank 1, 2, ...

    Raises: CounError if there are no methods, or methods with different numbers of seeds.

    >>> scores = {"FT": [3.0, 3.1], "CoUn": [1.0, 1.1]}
    >>> rank_shares(scores, generator=np.random.default_rng(0))
    {'FT': [0.0, 1.0], 'CoUn': [1.0, 0.0]}
    """
    table = [floats(values, f"scores of {name}", 1) for name, values in scores.items()]
    if len({len(row) for row in table}) != 1:
        raise CounError(
            f"numbers of seeds {[len(row) for row in table]}; expected the same seeds for each"
        )
    values = np.stack(table)
    seeds = generator.integers(values.shape[1], size=(resamples, values.shape[1]))
    drawn = scipy.stats.rankdata(values[:, seeds].mean(2), method="min", axis=0)
    places = range(1, len(table) + 1)
    return {
        name: [float((row == place).mean()) for place in places]
        for name, row in zip(scores, drawn, strict=True)
    }


@dataclass(frozen=True)
class Proportion:
    """The share of successes in *n* trials, and its interval; all shares are 0..1.

    Attributes:
        low, high: the interval.
        level: its confidence.

    >>> rate = clopper_pearson(3, 10)
    >>> f"{rate.share:.0%}, between {rate.low:.0%} and {rate.high:.0%}"
    '30%, between 7% and 65%'
    """

    share: float
    low: float
    high: float
    n: int
    level: float


def clopper_pearson(successes: int, n: int, level: float = 0.95) -> Proportion:
    """Estimate a rate from few samples, with its exact binomial interval.

    Args:
        successes: 0..n.
        n: the number of trials, at least 1.
        level: of confidence, between 0 and 1.

    Raises: CounError if *successes*, *n* or *level* is out of range.

    >>> round(clopper_pearson(0, 20).high, 3)
    0.168
    """
    if not 0 <= successes <= n or n == 0:
        raise CounError(f"{successes} successes in {n} trials; expected 0..n successes, n > 0")
    test = scipy.stats.binomtest(successes, n)
    interval = test.proportion_ci(_fraction(level, "level"), method="exact")
    return Proportion(successes / n, float(interval.low), float(interval.high), n, level)


def _fraction(value: float, what: str) -> float:
    if not 0 < value < 1:
        raise CounError(f"{what} {value}; expected a number between 0 and 1")
    return value
