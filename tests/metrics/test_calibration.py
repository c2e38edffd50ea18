"""Calibration measures against loops and PyTorch."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss
from torch.nn import functional as F

from coun.metrics import brier_score, calibration_error, negative_log_likelihood, probabilities


@pytest.fixture
def answers():
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.normal(size=(400, 5)) * 3), torch.from_numpy(
        rng.integers(0, 5, 400)
    )


def test_ece_is_that_of_a_loop_over_bins(answers):
    p, y = probabilities(answers[0]), answers[1].numpy()
    total = 0.0
    for low in range(15):
        inside = [i for i in range(400) if low / 15 < max(p[i]) <= (low + 1) / 15]
        if inside:
            right = np.mean([np.argmax(p[i]) == y[i] for i in inside])
            total += len(inside) / 400 * abs(right - np.mean([max(p[i]) for i in inside]))
    assert calibration_error(*answers) == pytest.approx(total)
    assert total > 0.2


def test_ece_of_certain_predictions_is_the_error_rate_and_of_calibrated_ones_zero():
    sure = 1000 * torch.eye(2)[[0, 0, 0, 0]]
    assert calibration_error(sure, [0, 0, 0, 1]) == 0.25
    doubt = torch.tensor([[math.log(3), 0.0]] * 4)
    assert calibration_error(doubt, [0, 0, 0, 1]) == pytest.approx(0, abs=1e-7)


def test_a_confidence_on_an_edge_belongs_to_the_lower_bin():
    # .5 with bins of width .5: alone in the lower one, so the gaps cannot cancel.
    logits, labels = torch.tensor([[0.0, 0.0], [2000.0, 0.0]]), [0, 1]
    assert calibration_error(logits, labels, bins=2) == pytest.approx((0.5 + 1) / 2)


def test_brier_score_is_that_of_a_loop(answers):
    p, y = probabilities(answers[0]), answers[1].tolist()
    expected = np.mean([sum((p[i][k] - (k == y[i])) ** 2 for k in range(5)) for i in range(400)])
    assert brier_score(*answers) == pytest.approx(expected)
    assert brier_score(1000 * torch.eye(2), [0, 1]) == 0
    assert brier_score(1000 * torch.eye(2), [1, 0]) == 2


def test_nll_is_the_cross_entropy_and_always_finite(answers):
    assert negative_log_likelihood(*answers) == pytest.approx(float(F.cross_entropy(*answers)))
    p = probabilities(answers[0])
    assert negative_log_likelihood(*answers) == pytest.approx(log_loss(answers[1], p))
    assert negative_log_likelihood([[0.0, 5000.0]], [0]) == 5000
