"""A few remembered rows are found, and chance finds none."""

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import hypergeom, kstest

from coun.audit import Groups, Strata, suspicious_rows, top_test
from coun.audit.top_rows import among_models


def test_p_is_the_share_of_all_permutations():
    """Two classes with 2 of 4 and 1 of 3 rows forgotten: 18 equally likely divisions."""
    labels = np.array([0, 0, 1]), np.array([0, 0, 1, 1])
    scores = Groups(np.array([9.0, 7.0, 8.0]), np.array([1.0, 3.0, 2.0, 0.0]))
    order = sorted([*scores.forget, *scores.test], reverse=True)
    sizes = (1, 2, 3, 4, 5, 6)

    def smallest(values):
        seen = np.cumsum([v in values for v in order])
        return min(hypergeom.sf(seen[k - 1] - 1, 7, 3, k) for k in sizes)

    observed = smallest(set(scores.forget))
    every = [
        smallest({*a, *b})
        for a in combinations((9.0, 7.0, 1.0, 3.0), 2)
        for b in combinations((8.0, 2.0, 0.0), 1)
    ]
    exact = np.mean(np.array(every) <= observed + 1e-12)
    result = top_test(Strata.of(*labels), scores, np.random.default_rng(0))
    assert result.p == pytest.approx(exact, abs=0.01)


def test_p_is_at_most_uniform_and_five_of_a_hundred_are_found():
    rng = np.random.default_rng(1)
    ps, hits = [], 0
    for k in range(60):
        labels = rng.integers(0, 5, 100), rng.integers(0, 5, 1000)
        scores = Groups(rng.normal(labels[0], 1), rng.normal(labels[1], 1))
        where = Strata.of(*labels)
        ps.append(top_test(where, scores, rng).p)
        scores.forget[:5] += 12
        hits += k < 20 and top_test(where, scores, rng).p < 0.05
    assert kstest(ps, "uniform", alternative="greater").pvalue > 0.01
    assert hits >= 18


def test_critical_values_belong_to_their_level():
    labels = np.zeros(50, int), np.zeros(100, int)
    rng = np.random.default_rng(2)
    result = top_test(Strata.of(*labels), Groups(rng.normal(size=50), rng.normal(size=100)), rng)
    assert np.mean(result.null <= result.critical(0.05)) == pytest.approx(0.05, abs=0.01)
    assert result.critical(1e-9) == 0


def test_suspicious_rows_have_conformal_p_values():
    where = Strata.of(np.zeros(3, int), np.zeros(9, int))
    scores = Groups(np.array([0.0, 5.0, 99.0]), np.arange(9.0))
    first, second, third = suspicious_rows(where, scores)
    assert (first.slot, first.p) == (2, pytest.approx(1 / 10))
    assert (second.slot, second.p) == (1, pytest.approx(5 / 10))
    assert third.q == 1
    assert first.q == pytest.approx(0.3)


def test_five_remembered_rows_among_five_retrains_are_found_and_none_by_chance():
    """Rows of every difficulty and noise, and models of different calibration."""
    rng = np.random.default_rng(3)
    ps, hits = [], 0
    for k in range(80):
        noise = rng.gamma(2, 1, 100)
        scores = rng.normal(0, 3, 100) + noise * rng.standard_t(5, (6, 100))
        scores *= rng.uniform(0.8, 1.25, (6, 1))
        ps.append(top_test(*among_models(scores[0], scores[1:]), rng).p)
        if k < 20:
            scores[0, :5] += 60
            hits += top_test(*among_models(scores[0], scores[1:]), rng).p < 0.001
    assert kstest(ps, "uniform", alternative="greater").pvalue > 0.01
    assert hits >= 16
