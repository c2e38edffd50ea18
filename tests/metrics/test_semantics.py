"""Where a forgotten class goes: the rows in the paper, and SciPy."""

import numpy as np
import pytest
import torch
from scipy.stats import permutation_test, spearmanr

from coun import CounError
from coun.metrics import (
    class_similarities,
    prediction_rows,
    row_difference,
    semantic_correlation,
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_a_row_is_the_share_of_each_class_in_percent():
    logits = torch.eye(3)[[0, 1, 1, 2, 1]]
    rows = prediction_rows(logits, torch.tensor([1, 1, 1, 1, 0]))
    assert rows[1].tolist() == [25, 50, 25]
    assert rows[0].tolist() == [0, 100, 0]
    assert np.isnan(rows[2]).all()


def test_the_difference_of_the_truck_rows_in_the_paper():
    retrain, coun = [97.42, 1.23, 0.38, 0.40], [97.84, 0.99, 0.32, 0.42]
    assert row_difference(coun, retrain) == pytest.approx((0.42 + 0.24 + 0.06 + 0.02) / 4)
    assert row_difference(coun, retrain, [1, 3]) == pytest.approx((0.24 + 0.02) / 2)


def test_similarities_are_cosines_between_centroids():
    centres = np.array([[1.0, 0], [1, 1], [0, 2], [-3, 0]])
    assert class_similarities(centres, 0) == pytest.approx([1, 0.5**0.5, 0, -1])


@pytest.mark.parametrize("classes", [5, 7])
def test_exact_p_and_rho_are_those_of_scipy(rng, classes):
    near, sent = rng.normal(size=(2, classes))
    sent[3] = sent[4]  # a tie
    kept = [c for c in range(classes) if c != 2]
    computed = semantic_correlation(near, sent, 2, generator=rng)
    expected = permutation_test(
        (near[kept],),
        lambda x: spearmanr(x, sent[kept]).statistic,
        permutation_type="pairings",
        n_resamples=np.inf,
        vectorized=False,
    )
    assert computed.rho == pytest.approx(expected.statistic)
    assert computed.exact
    # SciPy doubles the smaller tail. The share of orders with |rho| as large differs from it
    # where ties make the tails unequal, but never by more than one order.
    again = np.abs(expected.null_distribution) >= abs(expected.statistic) - 1e-9
    assert computed.p == pytest.approx(again.mean())
    assert computed.classes == classes - 1


def test_a_sampled_p_is_near_the_exact_one_and_depends_on_the_seed(rng):
    near, sent = rng.normal(size=(2, 40))
    sent += 0.6 * near

    def ask(seed):
        generator = np.random.default_rng(seed)
        return semantic_correlation(near, sent, 0, generator=generator, permutations=4_000)

    computed = ask(1)
    assert computed == ask(1)
    assert not computed.exact
    assert computed.permutations == 4_000
    expected = spearmanr(near[1:], sent[1:])
    assert computed.rho == pytest.approx(expected.statistic)
    assert computed.p == pytest.approx(expected.pvalue, abs=0.01)


def test_the_forgotten_class_and_absent_classes_are_left_out(rng):
    near, sent = np.array([9.0, 1, 2, 3, np.nan]), np.array([0.0, 10, 20, 30, 0])
    computed = semantic_correlation(near, sent, 0, generator=rng)
    assert computed.rho == pytest.approx(1)
    assert computed.classes == 3
    assert computed.p == pytest.approx(2 / 6)  # the order and its reverse, of 3!
    flat = semantic_correlation(near, np.ones(5), 0, generator=rng)
    assert np.isnan(flat.rho)
    assert np.isnan(flat.p)
    with pytest.raises(CounError, match="2 retained classes"):
        semantic_correlation(near[:3], sent[:3], 0, generator=rng)
