"""The linear probe against Newton steps and scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from coun import CounError
from coun.metrics import linear_probe, probe_margins


@pytest.fixture
def blobs():
    """Three classes of features in a row, far apart, on scales that differ a thousandfold."""
    rng = np.random.default_rng(0)
    labels = np.arange(90) % 3
    features = rng.normal(size=(90, 2)) + 8 * np.stack([labels == 1, labels == 2], 1)
    return torch.from_numpy(features * [1000, 1]), torch.from_numpy(labels)


def test_a_probe_separates_separable_classes(blobs):
    computed = linear_probe(blobs, blobs, (blobs[0][:5], blobs[1][:5]))
    assert (computed.forget_accuracy, computed.test_accuracy, computed.converged) == (
        100,
        100,
        True,
    )


def test_the_fit_maximises_the_penalised_likelihood(blobs):
    # With two classes and one feature, Newton steps find the same threshold.
    x, y = blobs[0][:, 1].numpy(), (blobs[1] == 2).numpy().astype(float)
    z = (x - x.mean()) / x.std()
    w = np.zeros(2)
    rows = np.stack([z, np.ones_like(z)], 1)
    for _ in range(50):
        p = 1 / (1 + np.exp(-rows @ w))
        hessian = rows.T @ (rows * (p * (1 - p))[:, None]) + np.diag([1.0, 0])
        w -= np.linalg.solve(hessian, rows.T @ (p - y) + np.array([w[0], 0]))
    threshold = -w[1] / w[0] * x.std() + x.mean()
    near = torch.tensor([[threshold - 0.01], [threshold + 0.01]])
    train = (blobs[0][:, 1:], torch.from_numpy(y))
    computed = linear_probe(train, (near, [0, 1]), (near, [1, 0]))
    assert (computed.forget_accuracy, computed.test_accuracy) == (100, 0)


def test_a_probe_of_noise_is_far_less_accurate(blobs):
    features, labels = blobs
    noise = torch.from_numpy(np.random.default_rng(1).normal(size=features.shape))
    model = linear_probe(blobs, blobs, blobs)
    retrain = linear_probe((noise, labels), (noise, labels), (noise, labels))
    assert model.forget_accuracy - retrain.forget_accuracy > 30


def test_an_unfinished_fit_is_reported_without_a_warning(blobs, recwarn):
    assert not linear_probe(blobs, blobs, blobs, iterations=1).converged
    assert not recwarn.list


def test_one_class_cannot_be_probed(blobs):
    with pytest.raises(CounError, match="all one class"):
        linear_probe((blobs[0], torch.zeros(90)), blobs, blobs)


def test_margins_are_the_log_odds_of_the_regression():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(90, 4)), np.repeat([1, 4, 7], 30)
    x[:, 0] += y
    asked, wanted = rng.normal(size=(6, 4)) + 3, np.array([1, 4, 7, 7, 4, 1])
    mean, std = x.mean(0), x.std(0)
    model = LogisticRegression(max_iter=50).fit((x - mean) / std, y)
    p = model.predict_proba((asked - mean) / std)[np.arange(6), np.searchsorted([1, 4, 7], wanted)]
    np.testing.assert_allclose(
        probe_margins((x, y), (asked, wanted)), np.log(p / (1 - p)), rtol=1e-6, atol=1e-8
    )
    two = y != 7
    computed = probe_margins((x[two], y[two]), (asked[:2], wanted[:2]))
    half = LogisticRegression(max_iter=50).fit((x[two] - x[two].mean(0)) / x[two].std(0), y[two])
    q = half.predict_proba((asked[:2] - x[two].mean(0)) / x[two].std(0))[[0, 1], [0, 1]]
    np.testing.assert_allclose(computed, np.log(q / (1 - q)), rtol=1e-6)
    with pytest.raises(CounError, match="class 7 is not among"):
        probe_margins((x[two], y[two]), (asked, wanted))
