"""The rank test agrees with all permutations and another library, and keeps its level."""

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import kstest, mannwhitneyu

from coun.audit import Groups, Strata, mean_difference, rank_test, rank_tests, residualise
from coun.audit.rank_tests import average_by_owner
from coun.errors import CounError


def strata(forget, test):
    return Strata.of(np.array(forget), np.array(test))


def test_p_is_the_share_of_all_permutations(monkeypatch):
    """Also where drawing stops early, which costs precision only."""
    early = rank_tests.ENOUGH
    monkeypatch.setattr(rank_tests, "ENOUGH", 10**9)
    forget, test = [0, 0, 1], [0, 0, 1, 1]
    rng = np.random.default_rng(0)
    scores = Groups(np.array([3.0, 1.0, 5.0]), np.array([2.0, 1.0, 4.0, 0.0]))

    def statistic(chosen):
        """Sum over classes of (pairs won - pairs / 2) / (rows + 1), from pairs themselves."""
        total = 0.0
        for values, group in chosen:
            others = [j for j in range(len(values)) if j not in group]
            won = sum(
                (values[i] > values[j]) + 0.5 * (values[i] == values[j])
                for i in group
                for j in others
            )
            total += (won - len(group) * len(others) / 2) / (len(values) + 1)
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
    result = rank_test(strata(forget, test), scores, rng)
    assert result.permutations == 9_999
    assert result.p == pytest.approx(exact, abs=0.02)
    assert rank_test(strata(forget, test), scores, rng, greater=True).p == pytest.approx(
        upper, abs=0.02
    )
    monkeypatch.setattr(rank_tests, "ENOUGH", early)
    stopped = rank_test(strata(forget, test), scores, rng)
    assert stopped.permutations < 1_000
    assert stopped.p == pytest.approx(exact, rel=0.25)
    # The standard deviation over all permutations, exactly.
    weight = 2 * 2 / 5 + 1 * 2 / 4
    assert result.error == pytest.approx(np.std(every) / weight)
    assert result.effect == pytest.approx(seen / weight)


def test_one_class_is_the_mann_whitney_test():
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 9, 300).astype(float), rng.integers(1, 10, 500).astype(float)
    result = rank_test(strata([0] * 300, [0] * 500), Groups(a, b))
    reference = mannwhitneyu(a, b, use_continuity=False, method="asymptotic")
    assert result.permutations == 0
    assert result.p == pytest.approx(reference.pvalue)
    assert result.effect == pytest.approx(reference.statistic / 150_000 - 0.5)


def test_the_normal_approximation_agrees_with_permutations(monkeypatch):
    monkeypatch.setattr(rank_tests, "ENOUGH", 10**9)
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
        model = Groups(*(y + h * rng.normal(0, 1 + y) for y, h in zip(labels, hard, strict=True)))
        retrains = Groups(*(h + rng.normal(0, 1, len(h)) for h in hard))
        where = strata(*labels)
        ps.append(rank_test(where, residualise(where, model, retrains) if given else model).p)
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


def test_what_another_model_explains_is_subtracted():
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 3, 400), rng.integers(0, 3, 400)
    hard = [rng.normal(0, 3, 400) for _ in labels]
    model = Groups(hard[0] + 0.5 + rng.normal(0, 1, 400), hard[1] + rng.normal(0, 1, 400))
    retrains = Groups(*(h + rng.normal(0, 1, 400) for h in hard))
    where = strata(*labels)
    assert (
        abs(rank_test(where, residualise(where, model, retrains)).z)
        > abs(rank_test(where, model).z) + 2
    )
    nothing = Groups(np.zeros(400), np.zeros(400))
    assert rank_test(where, nothing).p == 1


def test_the_mean_difference_is_weighted_and_its_interval_covers():
    where = strata([0, 0, 1], [0, 1, 1])
    scores = Groups(np.array([1.0, 3.0, 10.0]), np.array([1.0, 4.0, 6.0]))
    assert mean_difference(where, scores).difference == pytest.approx((2 * (2 - 1) + (10 - 5)) / 3)
    rng = np.random.default_rng(6)
    held = 0
    for _ in range(300):
        labels = rng.integers(0, 3, 60), rng.integers(0, 3, 80)
        scores = Groups(rng.normal(labels[0] + 1, 1), rng.normal(labels[1], 2))
        result = mean_difference(strata(*labels), scores)
        held += result.low < 1 < result.high
    assert 0.85 <= held / 300 <= 0.95


def test_rows_that_all_agree_are_not_certainty():
    scores = Groups(np.zeros(20), np.zeros(300))
    result = mean_difference(strata([0] * 20, [0] * 300), scores, unit=100.0)
    assert not result.within(2)
    many = mean_difference(
        strata([0] * 2000, [0] * 2000), Groups(np.zeros(2000), np.zeros(2000)), unit=100
    )
    assert many.within(2)


def test_no_class_in_common_is_refused():
    with pytest.raises(CounError, match="no test row has the class of a forgotten row"):
        strata([0, 0], [1, 1])


def test_rows_of_one_owner_count_once():
    """40 equal rows of one customer are no evidence; 40 customers with one row each are."""
    labels = np.zeros(40, np.int64), np.zeros(200, np.int64)
    scores = Groups(np.full(40, 3.0), np.linspace(0, 2, 200))
    rng = np.random.default_rng(0)
    where = strata(*labels)
    each = np.arange(40), np.arange(100, 300)
    together = np.zeros(40, np.int64), each[1]
    assert rank_test(*average_by_owner(where, scores, each), rng).p < 0.001
    single, means = average_by_owner(where, scores, together)
    assert single.counts == (1, 200)
    assert means.forget == pytest.approx([np.mean((np.arange(200, 240) - 119.5) / 241)])
    assert rank_test(single, means, rng).p > 0.005
    shared = np.arange(40), np.append(each[0], each[1][40:])
    assert average_by_owner(where, scores, shared)[0].counts == (40, 160)
