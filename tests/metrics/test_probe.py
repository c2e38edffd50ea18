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


def test_a_probe_reads_separable_classes_perfectly(blobs):
    found = linear_probe(blobs, blobs, (blobs[0][:5], blobs[1][:5]))
    assert (found.forget_accuracy, found.test_accuracy, found.converged) == (100, 100, True)


def test_it_is_a_maximum_of_the_penalised_likelihood(blobs):
    # With two classes and one feature the fitted line is where 1-d Newton steps end.
    x, y = blobs[0][:, 1].numpy(), (blobs[1] == 2).numpy().astype(float)
    z = (x - x.mean()) / x.std()
    w = np.zeros(2)
    rows = np.stack([z, np.ones_like(z)], 1)
    for _ in range(50):
        p = 1 / (1 + np.exp(-rows @ w))
        hessian = rows.T @ (rows * (p * (1 - p))[:, None]) + np.diag([1.0, 0])
        w -= np.linalg.solve(hessian, rows.T @ (p - y) + np.array([w[0], 0]))
    threshold = -w[1] / w[0] * x.std() + x.mean()
    asked = torch.tensor([[threshold - 0.01], [threshold + 0.01]])
    train = (blobs[0][:, 1:], torch.from_numpy(y))
    found = linear_probe(train, (asked, [0, 1]), (asked, [1, 0]))
    assert (found.forget_accuracy, found.test_accuracy) == (100, 0)
    assert found.excess(found) == 0


def test_the_excess_is_what_retrain_does_not_hold(blobs):
    features, labels = blobs
    noise = torch.from_numpy(np.random.default_rng(1).normal(size=features.shape))
    model = linear_probe(blobs, blobs, blobs)
    retrain = linear_probe((noise, labels), (noise, labels), (noise, labels))
    assert model.excess(retrain) == 100 - retrain.forget_accuracy > 30
    assert retrain.excess(retrain) == 0


def test_an_unfinished_fit_says_so_without_a_warning(blobs, recwarn):
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
    known = LogisticRegression(max_iter=50).fit((x - mean) / std, y)
    p = known.predict_proba((asked - mean) / std)[np.arange(6), np.searchsorted([1, 4, 7], wanted)]
    np.testing.assert_allclose(
        probe_margins((x, y), (asked, wanted)), np.log(p / (1 - p)), rtol=1e-6, atol=1e-8
    )
    two = y != 7
    found = probe_margins((x[two], y[two]), (asked[:2], wanted[:2]))
    half = LogisticRegression(max_iter=50).fit((x[two] - x[two].mean(0)) / x[two].std(0), y[two])
    q = half.predict_proba((asked[:2] - x[two].mean(0)) / x[two].std(0))[[0, 1], [0, 1]]
    np.testing.assert_allclose(found, np.log(q / (1 - q)), rtol=1e-6)
    with pytest.raises(CounError, match="class 7 is not among"):
        probe_margins((x[two], y[two]), (asked, wanted))
