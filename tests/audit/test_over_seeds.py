"""Floors, prediction intervals and tests over seeds, against SciPy and by simulation."""

import numpy as np
import pytest
from scipy.stats import ttest_ind, ttest_rel

from coun.audit.over_seeds import over_seeds
from coun.metrics import GAP_METRICS


def runs(*values):
    return [{name: float(v) for name in GAP_METRICS} for v in values]


def test_the_floor_is_the_mean_distance_of_two_retrains():
    row = over_seeds(runs(5), runs(1, 2, 4), ([0], [0, 1, 2]), margin=2)["metrics"][GAP_METRICS[0]]
    assert row["floor"] == pytest.approx((1 + 2 + 3) / 3)
    assert "test" not in row
    assert over_seeds(runs(5), runs(1), ([0], [0]), margin=2)["gap_of_means"] == 4


def test_seeds_that_match_are_paired_whatever_their_order():
    ours, reference = runs(1.0, 2.5, 3.1), runs(3.0, 1.2, 2.0)
    computed = over_seeds(ours, reference, ([7, 8, 9], [9, 7, 8]), margin=2)["metrics"][
        "test_accuracy"
    ]
    known = ttest_rel([1.0, 2.5, 3.1], [1.2, 2.0, 3.0])
    assert computed["test"]["kind"] == "paired"
    assert computed["test"]["p"] == pytest.approx(known.pvalue)
    assert computed["test"]["holm"] == pytest.approx(min(1, 4 * known.pvalue))
    other = over_seeds(ours, reference, ([7, 8, 9], [1, 2, 3]), margin=2)["metrics"][
        "test_accuracy"
    ]
    known = ttest_ind([1.0, 2.5, 3.1], [1.2, 2.0, 3.0], equal_var=False)
    assert other["test"]["kind"] == "Welch"
    assert other["test"]["p"] == pytest.approx(known.pvalue)


def test_one_more_retrain_lies_inside_with_95_percent():
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(400):
        *known, new = rng.normal(50, 2, 5)
        row = over_seeds(runs(new), runs(*known), ([0], range(4)), margin=2)["metrics"]
        inside += row["mia_efficacy"]["inside"]
    assert 0.92 <= inside / 400 <= 0.98
