"""Are a model's probabilities honest? Of logits (N, K) and labels (N,), in float64."""

from __future__ import annotations

import numpy as np
from scipy.special import log_softmax

from coun.metrics.arrays import Values, labelled
from coun.metrics.divergence import probabilities
from coun.metrics.registry import Metric


def calibration_error(logits: Values, labels: Values, *, bins: int = 15) -> float:
    """ECE: mean |accuracy - confidence| over equal-width bins of confidence, weighted; 0..1.

    A bin takes its upper edge, not its lower one, as in Guo et al. 2017, the source.
    """
    rows, known = labelled(logits, labels)
    p = probabilities(rows)
    sure, right = p.max(1), p.argmax(1) == known
    place = np.digitize(sure, np.linspace(0, 1, bins + 1)[1:-1], right=True)
    # |sum(right - sure)| / N of a bin is its weight times its |accuracy - confidence|.
    gaps = np.bincount(place, weights=right - sure, minlength=bins)
    return float(np.abs(gaps).sum() / len(rows))


def brier_score(logits: Values, labels: Values) -> float:
    """Mean over samples of sum_k (p_k - [k = y])^2; 0..2, 0 is perfect (Brier 1950)."""
    rows, known = labelled(logits, labels)
    wrong = probabilities(rows) - np.eye(rows.shape[1])[known]
    return float((wrong**2).sum(1).mean())


def negative_log_likelihood(logits: Values, labels: Values) -> float:
    """Mean of -ln p_y, in nats; finite also where p_y would underflow."""
    rows, known = labelled(logits, labels)
    return -float(log_softmax(rows, axis=1)[np.arange(len(rows)), known].mean())


TEST, FORGET = ("test.logits", "test.labels"), ("forget.logits", "forget.labels")
CALIBRATION_ERROR = Metric(
    "test_calibration_error", "ECE", "", calibration_error, TEST,
    title="Calibration error on test rows", column=None, digits=3,
)  # fmt: skip
BRIER_SCORE = Metric(
    "test_brier_score", "Brier", "", brier_score, TEST,
    title="Brier score on test rows", column=None, digits=3,
)  # fmt: skip
FORGET_LOSS = Metric(
    "forget_loss", "loss", "nats", negative_log_likelihood, FORGET,
    title="Mean loss on forget rows", column=None, digits=3,
)  # fmt: skip
