"""Whether the probabilities of a model can be believed, computed in float64."""

from __future__ import annotations

import numpy as np
from scipy.special import log_softmax

from coun.metrics.arrays import Values, labelled
from coun.metrics.divergence import probabilities
from coun.metrics.registry import Metric


def calibration_error(logits: Values, labels: Values, *, bins: int = 15) -> float:
    """Compute the expected calibration error (ECE), 0..1; 0 is perfect.

    It is the mean of |accuracy - confidence| over equally wide bins of confidence, weighted by
    their numbers of rows. A bin contains its upper edge, not its lower one.

    Args: logits: (N, K); labels: (N,); bins: their number.

    Source: Guo et al. 2017.

    >>> round(calibration_error([[9.0, 0.0], [9.0, 0.0]], [0, 1]), 3)
    0.5
    """
    rows, truth = labelled(logits, labels)
    p = probabilities(rows)
    confidence, right = p.max(1), p.argmax(1) == truth
    place = np.digitize(confidence, np.linspace(0, 1, bins + 1)[1:-1], right=True)
    # |sum(right - confidence)| / N of a bin is its weight times its |accuracy - confidence|.
    gaps = np.bincount(place, weights=right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(rows))


def brier_score(logits: Values, labels: Values) -> float:
    """Compute the Brier score, the mean over rows of sum_k (p_k - [k = y])^2.

    Args: logits: (N, K); labels: (N,).

    Returns: 0..2; 0 is perfect.

    Source: Brier 1950.

    >>> brier_score([[0.0, 0.0]], [0])
    0.5
    """
    rows, truth = labelled(logits, labels)
    errors = probabilities(rows) - np.eye(rows.shape[1])[truth]
    return float((errors**2).sum(1).mean())


def negative_log_likelihood(logits: Values, labels: Values) -> float:
    """Compute the mean of -ln p_y, in nats; it is finite also where p_y would round to 0.

    Args: logits: (N, K); labels: (N,).

    >>> negative_log_likelihood([[1000.0, 0.0]], [1])
    1000.0
    """
    rows, truth = labelled(logits, labels)
    return -float(log_softmax(rows, axis=1)[np.arange(len(rows)), truth].mean())


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
