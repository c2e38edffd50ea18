"""The rank test against all permutations, another library, and its level by simulation."""

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import kstest, mannwhitneyu

from coun.audit import Groups, Strata, contrast, rank_test, unexplained
from coun.errors import CounError


def strata(forget, test):
    return Strata.of(np.array(forget), np.array(test))


def test_p_is_the_share_of_all_permutations():
    forget, test = [0, 0, 1], [0, 0, 1, 1]
    rng = np.random.default_rng(0)
    scores = Groups(np.array([3.0, 1.0, 5.0]), np.array([2.0, 1.0, 4.0, 0.0]))

    def statistic(chosen):
        """Sum over classes of (pairs won - pairs / 2) / (rows + 1), from pairs themselves."""
        total = 0.0
        for values, mine in chosen:
            others = [j for j in range(len(values)) if j not in mine]
            won = sum(
                (values[i] > values[j]) + 0.5 * (values[i] == values[j])
                for i in mine
                for j in others
            )
            total += (won - len(mine) * len(others) / 2) / (len(values) + 1)
        return total

    first, second = [3.0, 1.0, 2.0, 1.0], [5.0, 4.0, 0.0]
    seen = statistic([(first, (0, 1)), (second, (0,))])
    every = [
        statistic([(first, a), (second, b)])
        for a in combinations(range(4), 2)
        for b in combinations(range(3), 1)
    ]
    exact = np.mean(np.abs(every) >= abs(seen) - 1e-9)
    upper = np.mean(np.array(every) >= seen - 1e-9)
    found = rank_test(strata(forget, test), scores, rng)
    assert found.permutations == 9_999
    assert found.p == pytest.approx(exact, abs=0.02)
    assert rank_test(strata(forget, test), scores, rng, greater=True).p == pytest.approx(
        upper, abs=0.02
    )
    # The standard deviation over all permutations, exactly.
    weight = 2 * 2 / 5 + 1 * 2 / 4
    assert found.error == pytest.approx(np.std(every) / weight)
    assert found.effect == pytest.approx(seen / weight)


def test_one_class_is_the_mann_whitney_test():
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 9, 300).astype(float), rng.integers(1, 10, 500).astype(float)
    found = rank_test(strata([0] * 300, [0] * 500), Groups(a, b))
    known = mannwhitneyu(a, b, use_continuity=False, method="asymptotic")
    assert found.permutations == 0
    assert found.p == pytest.approx(known.pvalue)
    assert found.effect == pytest.approx(known.statistic / 150_000 - 0.5)


def test_the_normal_approximation_agrees_with_permutations():
    rng = np.random.default_rng(2)
    labels = strata(rng.integers(0, 5, 60), rng.integers(0, 5, 90))
    for shift in (0.0, 0.3, 0.5):
        scores = Groups(rng.normal(shift, 1, 60), rng.normal(0, 1, 90))
        assert rank_test(labels, scores).p == pytest.approx(
            rank_test(labels, scores, rng).p, abs=0.015
        )


@pytest.mark.parametrize("given", [False, True])
def test_p_is_uniform_where_rows_are_exchangeable(given):
    """Scores whose classes, spreads and ties all differ, and that share their noise."""
    rng = np.random.default_rng(3)
    ps = []
    for _ in range(400):
        labels = rng.integers(0, 4, 100), rng.integers(0, 4, 160)
        hard = [rng.exponential(1, len(y)) for y in labels]
        mine = Groups(*(y + h * rng.normal(0, 1 + y) for y, h in zip(labels, hard, strict=True)))
        theirs = Groups(*(h + rng.normal(0, 1, len(h)) for h in hard))
        where = strata(*labels)
        ps.append(rank_test(where, unexplained(where, mine, theirs) if given else mine).p)
    assert kstest(ps, "uniform").pvalue > 0.01
    assert np.mean(np.array(ps) < 0.05) < 0.08


def test_few_ties_among_zeros_keep_the_level():
    """Correctness that differs on a row or two: no approximation is right there."""
    rng = np.random.default_rng(4)
    ps = []
    for _ in range(100):
        labels = rng.integers(0, 3, 30), rng.integers(0, 3, 150)
        scores = Groups(*((rng.random(len(y)) < 0.03) * 100.0 for y in labels))
        ps.append(rank_test(strata(*labels), scores, rng).p)
    assert np.mean(np.array(ps) <= 0.05) <= 0.1


def test_what_another_model_explains_is_taken_off():
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 3, 400), rng.integers(0, 3, 400)
    hard = [rng.normal(0, 3, 400) for _ in labels]
    mine = Groups(hard[0] + 0.5 + rng.normal(0, 1, 400), hard[1] + rng.normal(0, 1, 400))
    theirs = Groups(*(h + rng.normal(0, 1, 400) for h in hard))
    where = strata(*labels)
    assert (
        abs(rank_test(where, unexplained(where, mine, theirs)).z)
        > abs(rank_test(where, mine).z) + 2
    )
    nothing = Groups(np.zeros(400), np.zeros(400))
    assert rank_test(where, nothing).p == 1


def test_the_contrast_is_the_weighted_difference_and_covers():
    where = strata([0, 0, 1], [0, 1, 1])
    scores = Groups(np.array([1.0, 3.0, 10.0]), np.array([1.0, 4.0, 6.0]))
    assert contrast(where, scores).difference == pytest.approx((2 * (2 - 1) + (10 - 5)) / 3)
    rng = np.random.default_rng(6)
    held = 0
    for _ in range(300):
        labels = rng.integers(0, 3, 60), rng.integers(0, 3, 80)
        scores = Groups(rng.normal(labels[0] + 1, 1), rng.normal(labels[1], 2))
        found = contrast(strata(*labels), scores)
        held += found.low < 1 < found.high
    assert 0.85 <= held / 300 <= 0.95


def test_rows_that_all_agree_are_not_certainty():
    scores = Groups(np.zeros(20), np.zeros(300))
    found = contrast(strata([0] * 20, [0] * 300), scores, unit=100.0)
    assert not found.within(2)
    many = contrast(
        strata([0] * 2000, [0] * 2000), Groups(np.zeros(2000), np.zeros(2000)), unit=100
    )
    assert many.within(2)


def test_no_class_in_common_is_refused():
    with pytest.raises(CounError, match="no test row has a forgotten row's class"):
        strata([0, 0], [1, 1])
