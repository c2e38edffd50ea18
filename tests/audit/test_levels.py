"""Comparisons of levels: exact ranks, a spread that few Retrains cannot hide, and their level."""

import numpy as np
import pytest
from scipy.stats import ttest_ind

from coun.audit import level_test
from coun.errors import CounError


def test_the_rank_p_is_at_best_one_over_all_models():
    rows = np.zeros((4, 10))
    rows += np.arange(4)[:, None]
    assert level_test(np.full(10, 99.0), rows, margin=2).rank_p == pytest.approx(1 / 5)
    assert level_test(np.full(10, 1.5), rows, margin=2).rank_p == 1
    below = level_test(np.full(10, -99.0), rows, margin=2, greater=True)
    assert below.rank_p == 1


def test_the_plain_form_is_the_t_test_of_one_more_value():
    rng = np.random.default_rng(0)
    rows = rng.normal(50, 5, (5, 30)) + rng.normal(0, 3, (5, 1))
    model = rng.normal(60, 5, 30)
    result = level_test(model, rows, margin=2)
    reference = ttest_ind([model.mean()], rows.mean(1))
    assert result.plain_p == pytest.approx(reference.pvalue)


def test_many_retrains_decide_by_their_own_spread():
    rng = np.random.default_rng(1)
    rows = 50 + rng.normal(0, 10, (400, 1)) + np.zeros((400, 50))
    result = level_test(np.full(50, 80.0), rows, margin=2)
    assert result.error == pytest.approx(rows.mean(1).std(ddof=1), rel=0.02)


def test_one_retrain_catches_full_memory_and_passes_two_points():
    rng = np.random.default_rng(2)
    retrain = np.zeros((1, 100))
    assert level_test(100.0 * (rng.random(100) < 0.97), retrain, margin=2).p < 0.001
    near = np.zeros(100)
    near[:2] = 100
    assert level_test(near, retrain, margin=2).p > 0.3


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_true_retrains_are_accused_at_most_as_often_as_alpha(count):
    """Rows of all difficulties, and seeds whose levels differ by three points beyond that."""
    rng = np.random.default_rng(count)
    ps = []
    for _ in range(400):
        hard = rng.normal(0, 2, 80)
        shift = rng.normal(0, 0.15, (count + 1, 1))
        right = 100.0 * (hard + shift + rng.logistic(0, 1, (count + 1, 80)) > 0)
        ps.append(level_test(right[0], right[1:], margin=2).p)
    assert np.mean(np.array(ps) < 0.01) <= 0.02


def test_without_retrains_there_is_nothing_to_compare_with():
    with pytest.raises(CounError, match="got none, expected at least one"):
        level_test(np.zeros(3), np.zeros((0, 3)), margin=2)
