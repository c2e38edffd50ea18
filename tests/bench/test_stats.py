"""Statistics against the specification's oracles and textbook values."""

from __future__ import annotations

import math

import numpy as np
import pytest

from coun.bench.stats import holm, mean_interval, paired, rank_stability

A = [0.25, 0.31, 0.28, 0.22, 0.30]
B = [0.38, 0.30, 0.41, 0.35, 0.37]


def test_interval_and_paired_test_are_the_specifications() -> None:
    found = mean_interval(A)
    assert found.mean == pytest.approx(0.272)
    assert found.high - found.mean == pytest.approx(0.0459583441)
    assert paired(A, B) == pytest.approx(0.0309450, abs=1e-7)


def test_one_value_says_nothing() -> None:
    assert math.isnan(mean_interval([1.0]).low)
    assert math.isnan(paired([1.0], [2.0]))
    assert paired([1.0, 2.0], [1.0, 2.0]) == 1
    assert paired([1.0, 2.0], [2.0, 3.0]) == 0


def test_holm_by_hand() -> None:
    found = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": math.nan})
    assert found["a"] == pytest.approx(0.03)
    assert found["c"] == pytest.approx(0.06)
    assert found["b"] == pytest.approx(0.06)  # never below a smaller p's
    assert math.isnan(found["d"])


def test_ranks_are_shares_and_a_clear_winner_always_wins() -> None:
    rng = np.random.default_rng(0)
    values = {"good": [1.0, 1.1, 0.9], "bad": [5.0, 5.1, 4.9], "odd": list(rng.normal(3, 0.1, 3))}
    found = rank_stability(values)
    assert found["good"] == [1, 0, 0]
    assert found["bad"] == [0, 0, 1]
    twins = rank_stability({"x": [1.0, 3.0], "y": [2.0, 2.1]})
    assert sum(twins["x"]) == pytest.approx(1)
    assert 0 < twins["x"][0] < 1
