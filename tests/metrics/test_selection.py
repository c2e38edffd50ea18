"""Comparisons with the best: valid after selection, exact for two methods, and not powerless."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import ttest_rel

from coun.errors import CounError
from coun.metrics.selection import worse_than_best


def test_equal_methods_are_rarely_declared_worse():
    """22 equal methods and 8 seeds: t tests against the best mean err far more often."""
    rng = np.random.default_rng(0)
    errors, naive = 0, 0
    for _ in range(200):
        scores = {
            str(k): row for k, row in enumerate(rng.normal(size=(22, 8)) + rng.normal(size=8))
        }
        errors += min(worse_than_best(scores).values()) < 0.05
        best = min(scores, key=lambda name: scores[name].mean())
        naive += any(
            ttest_rel(row, scores[best]).pvalue < 0.05 for n, row in scores.items() if n != best
        )
    assert errors / 200 <= 0.085
    assert naive / 200 > 0.5


def test_two_methods_get_the_exact_sign_flip_p():
    rng = np.random.default_rng(1)
    a, b = rng.normal(0, 1, 6), rng.normal(0.8, 1, 6)
    gaps = b - a
    every = [abs(np.dot(gaps, signs)) for signs in product((1, -1), repeat=6)]
    exact = np.mean(np.array(every) >= gaps.sum() - 1e-12)
    assert worse_than_best({"a": a, "b": b})["b"] == pytest.approx(exact)


def test_a_clearly_worse_method_is_found_among_many():
    rng = np.random.default_rng(2)
    scores = {str(k): rng.normal(0, 0.3, 10) for k in range(10)}
    scores["bad"] = rng.normal(4, 0.3, 10)
    p = worse_than_best(scores)
    assert p["bad"] < 0.01
    assert min(value for name, value in p.items() if name != "bad") > 0.05
    best = worse_than_best({n: -s for n, s in scores.items()}, higher_is_better=True)
    assert best == pytest.approx(p)


def test_few_seeds_declare_nothing_and_many_are_drawn():
    scores = {"a": np.zeros(5), "b": np.ones(5)}
    assert worse_than_best(scores)["b"] == 2**-4
    many = {"a": np.zeros(20), "b": np.ones(20)}
    assert worse_than_best(many)["b"] < 0.001
    assert worse_than_best({"a": [1.0], "b": [2.0]}) == {"a": 1.0, "b": 1.0}
    with pytest.raises(CounError, match="same seeds for each method"):
        worse_than_best({"a": [1.0], "b": [2.0, 3.0]})
