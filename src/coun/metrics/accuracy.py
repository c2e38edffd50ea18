"""Accuracy, and how far a model stands from Retrain."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from coun.errors import CounError

GAP_METRICS = ("retain_accuracy", "unlearn_accuracy", "test_accuracy", "mia_efficacy")


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Percent of rows of *logits* (N, K) whose largest entry is at *labels* (N,).

    Ties go to the lowest class. Counts are totals, never averages of batch averages.
    NaN for N = 0.
    """
    if len(labels) == 0:
        return float("nan")
    return 100.0 * float((logits.argmax(1) == labels).double().mean())


def unlearn_accuracy(logits: Tensor, labels: Tensor) -> float:
    """UA: 100 minus the accuracy on the forget set, percent (N, K), (N,)."""
    return 100.0 - accuracy(logits, labels)


def average_gap(metrics: Mapping[str, float], retrain: Mapping[str, float]) -> float:
    """Mean absolute difference to Retrain over RA, UA, TA and MIA, in points; 0 is ideal.

    Source: CoUn, section 4.1 ("Avg. Gap"). Raises: CounError if a metric is missing.
    """
    for name in GAP_METRICS:
        for of, values in (("the model", metrics), ("Retrain", retrain)):
            if values.get(name) is None:
                raise CounError(f"{of} has no {name}; the average gap needs all of {GAP_METRICS}")
    return sum(abs(metrics[m] - retrain[m]) for m in GAP_METRICS) / len(GAP_METRICS)
