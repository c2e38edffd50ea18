"""The interior point method against libsvm at a small tolerance, and its optimality conditions."""

import numpy as np
import pytest
from sklearn.svm import SVC

from coun.attacks.interior import rbf_factor, svm_plane


def kernel(a, b, gamma):
    return np.exp(-gamma * ((a[:, None] - b[None]) ** 2).sum(2))


@pytest.mark.parametrize("features", [1, 3])
def test_the_factor_gives_every_kernel_entry(features):
    x = np.random.default_rng(0).random((150, features))
    factor = rbf_factor(x, 1 / features, most=100, accuracy=1e-9)
    assert factor.shape[1] < 100
    assert np.abs(factor @ factor.T - kernel(x, x, 1 / features)).max() < 1e-8
    assert rbf_factor(x, 1 / features, most=factor.shape[1] - 1, accuracy=1e-9) is None


def test_one_repeated_point_has_rank_one():
    assert rbf_factor(np.ones((5, 1)), 1.0, most=3).tolist() == [[1.0]] * 5


@pytest.mark.parametrize("kind", ["overlap", "apart", "weights", "alike", "several"])
def test_the_plane_is_that_of_libsvm(kind):
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.beta(6, 1, 150), rng.beta(2, 1, 100)])[:, None]
    y, weights = np.repeat([1, -1], [150, 100]), np.ones(250)
    if kind == "apart":
        x = np.concatenate([0.6 + 0.4 * rng.random(150), 0.5 * rng.random(100)])[:, None]
    elif kind == "weights":
        weights = np.where(rng.random(250) < 0.02, 9000.0, rng.integers(1, 50, 250))
    elif kind == "alike":
        x[100:] = x[:150]
    elif kind == "several":
        x = rng.normal(0, 1, (250, 3)) + 0.5 * y[:, None]
    gamma = 1 / x.shape[1]
    exact = SVC(C=3, gamma=gamma, tol=1e-6).fit(x, y, sample_weight=weights)
    factor = rbf_factor(x, gamma, most=250, accuracy=1e-8)
    w, b = svm_plane(factor, y, 3 * weights)
    computed, expected = factor @ w + b, exact.decision_function(x)
    assert np.abs(computed - expected).max() < 1e-3

    def objective(f, square):
        return square / 2 + (3 * weights * np.maximum(0, 1 - y * f)).sum()

    dual = exact.dual_coef_[0]
    square = dual @ kernel(exact.support_vectors_, exact.support_vectors_, gamma) @ dual
    # Never worse than libsvm, and not better by more than its tolerance allows.
    ours, reference = objective(computed, w @ w), objective(expected, square)
    assert (1 - 1e-4) * reference < ours < (1 + 1e-6) * reference


def test_too_few_steps_return_none():
    factor = rbf_factor(np.linspace(0, 1, 20)[:, None], 1.0, most=20)
    assert svm_plane(factor, np.repeat([1, -1], 10), np.full(20, 3.0), steps=2) is None
