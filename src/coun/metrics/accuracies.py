"""Accuracy, and how far a model stands from Retrain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from coun.errors import CounError
from coun.metrics.arrays import Floats, Ints, Values, labelled
from coun.metrics.registry import Metric

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


def confusion(logits: Values, labels: Values) -> Ints:
    """Counts (K, K): entry [y, k] is how many rows of class y are predicted k.

    Ties go to the lowest class. Raises: CounError if a label is no class of *logits*.
    """
    rows, known = labelled(logits, labels)
    classes = rows.shape[1]
    cells = known * classes + rows.argmax(1)
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)


def class_accuracy(logits: Values, labels: Values) -> Floats:
    """Accuracy of each class, percent (K,); NaN for a class without rows."""
    counts = confusion(logits, labels)
    with np.errstate(invalid="ignore"):
        found: Floats = 100.0 * counts.diagonal() / counts.sum(1)
    return found


def average_gap(metrics: Mapping[str, float], retrain: Mapping[str, float]) -> float:
    """Mean absolute difference to Retrain over RA, UA, TA and MIA, in points; 0 is ideal.

    Source: CoUn, section 4.1 ("Avg. Gap"). Raises: CounError if a metric is missing.
    """
    gaps = differences(metrics, retrain, GAP_METRICS, "the average gap")
    return sum(abs(gap) for gap in gaps) / len(gaps)


def paired_gaps(
    runs: Sequence[Mapping[str, float]], retrains: Sequence[Mapping[str, float]]
) -> list[float]:
    """The average gap of each seed's run to the Retrain of the same seed, in points.

    Their mean is never below `gap_of_means`, for |.| is convex. Raises: CounError if the
    two lists differ in length or are empty.
    """
    if len(runs) != len(retrains) or not runs:
        raise CounError(
            f"{len(runs)} runs and {len(retrains)} Retrains; expected one Retrain for each run"
        )
    return [average_gap(run, retrain) for run, retrain in zip(runs, retrains, strict=True)]


def gap_of_means(
    runs: Sequence[Mapping[str, float]], retrains: Sequence[Mapping[str, float]]
) -> float:
    """The average gap between the means over seeds, in points: what a paper's table shows.

    Differences of opposite sign in two seeds cancel here, not in `paired_gaps`.
    Raises: CounError if a metric is missing or a list is empty.
    """
    return average_gap(_means(runs), _means(retrains))


def differences(
    metrics: Mapping[str, float], retrain: Mapping[str, float], names: Sequence[str], purpose: str
) -> list[float]:
    """Model minus Retrain for each of *names*. Raises: CounError if one is missing or None."""
    for name in names:
        for of, values in (("the model", metrics), ("Retrain", retrain)):
            if values.get(name) is None:
                raise CounError(f"{of} has no {name}; {purpose} needs all of {names}")
    return [metrics[name] - retrain[name] for name in names]


def _means(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of every gap metric that all runs have."""
    if not runs:
        raise CounError("no runs; expected the metrics of at least one seed")
    shared = [m for m in GAP_METRICS if all(run.get(m) is not None for run in runs)]
    return {m: sum(run[m] for run in runs) / len(runs) for m in shared}


RETAIN_ACCURACY = Metric(
    "retain_accuracy", "RA", "%", accuracy, ("retain.logits", "retain.labels"),
    title="Retain accuracy", column=10,
)  # fmt: skip
UNLEARN_ACCURACY = Metric(
    "unlearn_accuracy", "UA", "%", unlearn_accuracy, ("forget.logits", "forget.labels"),
    title="Unlearn accuracy", column=20,
)  # fmt: skip
TEST_ACCURACY = Metric(
    "test_accuracy", "TA", "%", accuracy, ("test.logits", "test.labels"),
    title="Test accuracy", column=30,
)  # fmt: skip
FORGOTTEN_CLASS = Metric(
    "forgotten_class_test_accuracy", "TA, forgotten", "%", accuracy,
    ("forgotten_test.logits", "forgotten_test.labels"),
    title="Test accuracy, forgotten class", column=None,
)  # fmt: skip
AVERAGE_GAP = Metric.of_values(
    average_gap, GAP_METRICS, name="average_gap", label="gap", unit="points",
    title="Average gap to Retrain", direction="lower", aims_at=0.0, column=50,
)  # fmt: skip
