"""What a few seeds allow to be said: intervals, tests, equivalence, stability of ranks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit
from scipy.stats import binomtest, rankdata

from coun.errors import CounError
from coun.metrics.arrays import Floats, Values, floats, pair


@dataclass(frozen=True)
class Mean:
    """A mean of *n* values, its standard deviation (ddof 1) and its t interval.

    Of one value, all but the mean is NaN.
    """

    mean: float
    std: float
    half_width: float
    low: float
    high: float
    n: int
    level: float


def mean_interval(values: Values, level: float = 0.95) -> Mean:
    """Mean +/- t_{(1+level)/2, n-1} s / sqrt(n) of *values* (n,)."""
    found = floats(values, "values", 1)
    mean, std, n = float(found.mean()), _variance(found) ** 0.5, len(found)
    half = float(stdtrit(n - 1, (1 + _share(level, "level")) / 2)) * std / n**0.5
    return Mean(mean, std, half, mean - half, mean + half, n, level)


@dataclass(frozen=True)
class Comparison:
    """A t test of a mean difference: its value, t, degrees of freedom and two-sided p."""

    difference: float
    t: float
    df: float
    p: float


def welch(a: Values, b: Values) -> Comparison:
    """Welch's t test of two independent samples (n,), (m,); NaN if either has one value."""
    return _compare(*_unpaired(a, b))


def paired(a: Values, b: Values) -> Comparison:
    """Paired t test of two samples (n,) with the same seeds in the same order; NaN for n = 1.

    To be preferred where runs share seed, and so original model, forget set and Retrain.
    """
    return _compare(*_paired(a, b))


@dataclass(frozen=True)
class Equivalence:
    """Two one-sided tests of |difference| < margin; low..high is the 1 - 2 alpha interval."""

    difference: float
    low: float
    high: float
    margin: float
    p: float
    equivalent: bool


def equivalence(
    a: Values, b: Values, *, margin: float, by_seed: bool = True, alpha: float = 0.05
) -> Equivalence:
    """TOST: are the means of *a* (n,) and *b* (m,) closer than *margin*, in their own unit?

    Args: by_seed: paired (n = m), else independent samples as in `welch`.

    A t test that finds no difference does not show there is none; this does. p is the
    larger of the two one-sided ones, so of one value a side it is NaN: not shown.

    Source: Schuirmann 1987. Raises: CounError unless margin > 0 and 0 < alpha < .5.
    """
    if not (margin > 0 and 0 < alpha < 0.5):
        raise CounError(f"margin {margin}, alpha {alpha}; expected margin > 0, 0 < alpha < 0.5")
    difference, error, df = _paired(a, b) if by_seed else _unpaired(a, b)
    below = stdtr(df, _over(difference - margin, error))
    above = stdtr(df, _over(-difference - margin, error))
    p = float(np.maximum(below, above))
    half = float(stdtrit(df, 1 - alpha)) * error
    return Equivalence(difference, difference - half, difference + half, margin, p, p < alpha)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Holm's step-down adjusted p-values: below alpha is significant among all of them.

    NaN, a test that could not be made, stays NaN and is not counted.

    Source: Holm 1979. Raises: CounError for a p that is not in 0..1.
    """
    known = {name: p for name, p in p_values.items() if not np.isnan(p)}
    for name, p in known.items():
        if not 0 <= p <= 1:
            raise CounError(f"p of {name} is {p}; expected 0..1")
    adjusted, running, left = dict.fromkeys(p_values, float("nan")), 0.0, len(known)
    for name, p in sorted(known.items(), key=lambda item: item[1]):
        running = max(running, min(1.0, left * p))
        adjusted[name] = running
        left -= 1
    return adjusted


@dataclass(frozen=True)
class RankStability:
    """Ranks by the mean over seeds (1 is best), and how often resampled seeds repeat them.

    `ranks`: of all seeds. `kept`: share of resamples with the same rank. `first`: share in
    which the method is (also) first. `shares`: of every rank, from the first on. `order`:
    share in which every rank is the same.
    """

    ranks: dict[str, float]
    kept: dict[str, float]
    first: dict[str, float]
    shares: dict[str, list[float]]
    order: float
    resamples: int


def rank_stability(
    scores: Mapping[str, Values],
    *,
    generator: np.random.Generator,
    resamples: int = 10_000,
    higher_is_better: bool = False,
) -> RankStability:
    """Bootstrap over seeds: does the order of methods hold if other seeds had been drawn?

    Args: scores: per method one value a seed (n,), all in the same order of seeds, such as
        average gaps; seeds are resampled for all methods together. Ties get the lower rank.

    Raises: CounError if there are no methods, or methods with different numbers of seeds.
    """
    table = [floats(values, f"scores of {name}", 1) for name, values in scores.items()]
    if len({len(row) for row in table}) != 1:
        raise CounError(
            f"numbers of seeds {[len(row) for row in table]}; expected the same seeds for each"
        )
    values = np.stack(table) * (-1 if higher_is_better else 1)
    seeds = generator.integers(values.shape[1], size=(resamples, values.shape[1]))
    ranks = rankdata(values.mean(1), method="min")
    drawn = rankdata(values[:, seeds].mean(2), method="min", axis=0)
    same = drawn == ranks[:, None]
    places = range(1, len(table) + 1)
    shares = {
        name: [float((row == place).mean()) for place in places]
        for name, row in zip(scores, drawn, strict=True)
    }

    def named(column: Values) -> dict[str, float]:
        return dict(zip(scores, floats(column, "ranks", 1).tolist(), strict=True))

    return RankStability(
        named(ranks),
        named(same.mean(1)),
        {name: row[0] for name, row in shares.items()},
        shares,
        float(same.all(0).mean()),
        resamples,
    )


@dataclass(frozen=True)
class Proportion:
    """A share of *n* trials and its interval, all 0..1."""

    share: float
    low: float
    high: float
    n: int
    level: float


def clopper_pearson(successes: int, n: int, level: float = 0.95) -> Proportion:
    """The exact binomial interval of successes / n, as for a rate at few samples.

    Raises: CounError unless 0 <= successes <= n and n > 0.
    """
    if not 0 <= successes <= n or n == 0:
        raise CounError(f"{successes} successes in {n} trials; expected 0..n in n > 0")
    found = binomtest(successes, n).proportion_ci(_share(level, "level"), method="exact")
    return Proportion(successes / n, float(found.low), float(found.high), n, level)


def _variance(values: Floats) -> float:
    return float(values.var(ddof=1)) if len(values) > 1 else float("nan")


def _paired(a: Values, b: Values) -> tuple[float, float, float]:
    """Mean difference, its standard error, degrees of freedom."""
    first, second = pair(a, b, "paired samples", 1)
    gaps = first - second
    return float(gaps.mean()), (_variance(gaps) / len(gaps)) ** 0.5, float(len(gaps) - 1)


def _unpaired(a: Values, b: Values) -> tuple[float, float, float]:
    """As `_paired`, for independent samples, with Welch's degrees of freedom."""
    first, second = (floats(x, "samples", 1) for x in (a, b))
    parts = [_variance(x) / len(x) for x in (first, second)]
    total = sum(parts)
    weights = sum(v**2 / max(len(x) - 1, 1) for v, x in zip(parts, (first, second), strict=True))
    df = total**2 / weights if weights != 0 else 1.0  # of two constants any will do
    return float(first.mean() - second.mean()), total**0.5, df


def _compare(difference: float, error: float, df: float) -> Comparison:
    t = _over(difference, error)
    return Comparison(difference, t, df, float(2 * stdtr(df, -abs(t))))


def _over(part: float, error: float) -> float:
    """part / error as IEEE has it: infinite, or NaN for 0/0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.float64(part) / np.float64(error))


def _share(value: float, what: str) -> float:
    if not 0 < value < 1:
        raise CounError(f"{what} {value}; expected between 0 and 1")
    return value
