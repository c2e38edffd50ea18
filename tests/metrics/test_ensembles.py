"""Margins and KLOM against loops over rows."""

import warnings

import numpy as np
import pytest
import torch

from coun import CounError
from coun.metrics import klom, log_odds_correlation, margins


def test_margins_are_the_log_odds_of_a_loop():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(20, 4)), rng.integers(0, 4, 20)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = [np.log(r[y] / (1 - r[y])) for r, y in zip(p, labels, strict=True)]
    assert margins(logits, labels) == pytest.approx(expected)


def test_margins_are_exact_where_a_probability_rounds_to_one_and_clipped_at_100():
    logits = torch.tensor([[60.0, 0, 0], [500, 0, 0], [0, 500, 0], [-torch.inf, 0, 0]])
    assert margins(logits, [0, 0, 0, 0]) == pytest.approx([60 - np.log(2), 100, -100, -100])


def test_klom_is_a_loop_over_histograms():
    rng = np.random.default_rng(1)
    ours, reference = rng.normal(1, 2, (60, 7)), rng.normal(0, 3, (50, 7)) * 20
    computed = klom(ours, torch.from_numpy(reference))
    for n in range(7):
        a, b = (np.clip(x[:, n], -100, 100) for x in (ours, reference))
        edges = np.linspace(min(a.min(), b.min()), max(a.max(), b.max()), 21)
        p, q = (np.histogram(x, edges)[0] / len(x) for x in (a, b))
        q = np.maximum(q, 1e-5)
        q /= q.sum()
        terms = (x * np.log(x / y) for x, y in zip(p, q, strict=True) if x)
        assert computed[n] == pytest.approx(sum(terms))


def test_klom_is_zero_for_equal_groups_and_finite_for_disjoint_ones():
    same = np.random.default_rng(2).normal(size=(30, 3))
    assert klom(same, same[::-1]) == pytest.approx(np.zeros(3), abs=1e-3)
    assert klom(np.zeros((4, 1)), np.zeros((9, 1))) == pytest.approx([0], abs=1e-3)
    apart = klom(np.zeros((4, 1)), np.ones((9, 1)))
    assert apart == pytest.approx([-np.log(1e-5)], abs=1e-3)


def test_groups_with_different_samples_are_refused():
    with pytest.raises(CounError, match="3 and 2 rows"):
        klom(np.zeros((4, 3)), np.zeros((4, 2)))


def test_log_odds_of_one_row_have_no_correlation_and_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(log_odds_correlation([[1.0, 0.0]], [[2.0, 0.0]], [0]))
