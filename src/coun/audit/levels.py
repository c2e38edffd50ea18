"""Compare levels on the forgotten rows, with models as the unit of replication.

If the request was carried out perfectly, then the model under audit is one more Retrain, whatever
the rows are. So every statistic of its forgotten rows is compared with the Retrains' values.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from coun.errors import CounError
from coun.metrics.arrays import Floats

WEIGHT = 8  # degrees of freedom that the assumed seed spread counts for
UNIT = 100.0  # points: what one row's answer can change


@dataclass(frozen=True)
class LevelTest:
    """The model's level on some rows beside the Retrains'.

    Attributes:
        model, retrain: means over the rows; of the models under audit and of all Retrains.
        difference: model - retrain, in the unit of the values.
        error: standard error of the difference: seed spread times sqrt(1 + 1 / Retrains).
        df: degrees of freedom of the t test.
        p: of the t test with this error; two-sided, or one-sided where asked.
        rank_p: exact p of the model's rank among all models; 1 / (Retrains + 1) at best.
        plain_p: of the t test that uses the Retrains' own spread only; NaN with one Retrain.

    >>> test = LevelTest(97.0, 92.0, 5.0, error=1.0, df=4.0, p=0.007, rank_p=0.25, plain_p=0.01)
    >>> round(test.quantile(0.025), 2)  # points that chance exceeds once in 40 times
    2.78
    """

    model: float
    retrain: float
    difference: float
    error: float
    df: float
    p: float
    rank_p: float
    plain_p: float

    def quantile(self, tail: float) -> float:
        """The difference that chance exceeds with probability *tail*."""
        return float(student.isf(tail, self.df)) * self.error


def level_test(
    model: Floats,
    retrains: Floats,
    *,
    margin: float,
    elsewhere: float = 0.0,
    unit: float = UNIT,
    above: float = 0.0,
    greater: bool = False,
) -> LevelTest:
    """Test whether the model's mean over rows is that of one more Retrain.

    With many Retrains their own spread decides. A few Retrains estimate it badly and one not at
    all, so it is combined with an assumed spread, which counts for 8 degrees of freedom: the
    margin, the noise that rows alone bring, and what separates the models on rows that neither
    had to forget. A spread above the assumed one is never reduced.

    Args:
        model: (N,) value of each row under the model; several models are averaged beforehand.
        retrains: (R, N) the same under R Retrains.
        margin: a seed spread (standard deviation) that must be taken for possible, in the unit
            of the values.
        elsewhere: model minus Retrains on rows that neither had to forget.
        unit: the size of one row's difference, where most rows have none; see `mean_difference`.
        above: test for a difference of more than this (with *greater*).
        greater: one-sided: is the model's level *higher*?

    Raises: CounError without Retrains.

    >>> rows = np.full(50, 97.0)
    >>> level_test(rows, np.zeros((1, 50)), margin=2).p < 0.001
    True
    """
    count, rows = retrains.shape
    if count == 0:
        raise CounError("a level test compares with Retrains; got none, expected at least one")
    means = retrains.mean(1)
    difference = float(model.mean() - means.mean())
    factor = 1 + 1 / count
    spread = float(means.var(ddof=1)) if count > 1 else 0.0
    if count > 1:
        squares = float(retrains.var(axis=0, ddof=1).sum())
    else:  # half of the squared difference of two models estimates the variance of one
        squares = float(((model - retrains[0]) ** 2).sum()) / 2
    noise = (squares + unit**2) / rows**2
    assumed = margin**2 + noise + elsewhere**2 / 2
    df = WEIGHT + count - 1
    combined = (WEIGHT * assumed + (count - 1) * spread) / df
    error = float(np.sqrt(max(combined, spread) * factor))
    plain = float("nan")
    if count > 1:
        plain_error = np.sqrt(spread * factor)
        plain = (
            _p((difference - above) / plain_error, count - 1, greater)
            if plain_error > 0
            else float("nan")
        )
    centre = np.append(means, model.mean())
    distance = centre if greater else np.abs(centre - np.median(centre))
    return LevelTest(
        float(model.mean()),
        float(means.mean()),
        difference,
        error,
        float(df),
        _p((difference - above) / error, df, greater),
        float((distance >= distance[-1] - 1e-12).mean()),
        plain,
    )


def _p(t: float, df: float, greater: bool) -> float:
    return float(student.sf(t, df)) if greater else float(2 * student.sf(abs(t), df))
