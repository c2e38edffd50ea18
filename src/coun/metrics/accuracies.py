"""Accuracies, and the average gap between a model and Retrain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from coun.errors import CounError
from coun.metrics.arrays import Ints, Values, labelled
from coun.metrics.registry import Metric

GAP_METRICS = ("retain_accuracy", "unlearn_accuracy", "test_accuracy", "mia_efficacy")


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Compute the percentage of rows whose largest logit is at the label.

    Ties go to the lowest class.

    Args: logits: (N, K); labels: (N,).

    Returns: 0..100, or NaN for N = 0.

    >>> import torch
    >>> accuracy(torch.tensor([[2.0, 1.0], [0.0, 3.0]]), torch.tensor([0, 0]))
    50.0
    """
    if len(labels) == 0:
        return float("nan")
    return 100.0 * float((logits.argmax(1) == labels).double().mean())


def unlearn_accuracy(logits: Tensor, labels: Tensor) -> float:
    """Compute UA: 100 minus the accuracy on the forget rows, in percent.

    Args: logits: (N, K) and labels: (N,), of the forget rows.

    >>> import torch
    >>> unlearn_accuracy(torch.tensor([[2.0, 1.0], [0.0, 3.0]]), torch.tensor([0, 0]))
    50.0
    """
    return 100.0 - accuracy(logits, labels)


def confusion(logits: Values, labels: Values) -> Ints:
    """Count for every class y and class k how many rows of class y are predicted as k.

    Ties go to the lowest class.

    Args: logits: (N, K); labels: (N,).

    Returns: counts (K, K), true classes down and predicted classes across.

    Raises: CounError if a label is not among the classes of *logits*.

    >>> confusion([[2.0, 1.0], [0.0, 3.0]], [0, 0]).tolist()
    [[1, 1], [0, 0]]
    """
    from sklearn.metrics import confusion_matrix  # takes a second to import

    rows, truth = labelled(logits, labels)
    counts: Ints = confusion_matrix(truth, rows.argmax(1), labels=np.arange(rows.shape[1]))
    return counts


def average_gap(metrics: Mapping[str, float], retrain: Mapping[str, float]) -> float:
    """Compute the mean absolute difference to Retrain over RA, UA, TA and MIA, in points.

    Args: metrics, retrain: percentages under the names of `GAP_METRICS`.

    Returns: the average gap; 0 is ideal.

    Raises: CounError if a metric is missing.

    Source: CoUn, section 4.1 ("Avg. Gap").

    >>> retrain = dict.fromkeys(GAP_METRICS, 90.0)
    >>> average_gap(retrain | {"test_accuracy": 86.0}, retrain)
    1.0
    """
    gaps = differences(metrics, retrain, GAP_METRICS, "the average gap")
    return sum(abs(gap) for gap in gaps) / len(gaps)


def gap_of_means(
    runs: Sequence[Mapping[str, float]], retrains: Sequence[Mapping[str, float]]
) -> float:
    """Compute the average gap between the means over seeds, in points, as papers report it.

    Differences of opposite sign in two seeds cancel here, but not in a mean of the seeds' gaps.

    Args: runs, retrains: the metrics of each seed.

    Raises: CounError if a metric is missing or a list is empty.

    >>> names = ("retain_accuracy", "unlearn_accuracy", "test_accuracy", "mia_efficacy")
    >>> seeds = [dict.fromkeys(names, 91.0), dict.fromkeys(names, 89.0)]
    >>> retrains = [dict.fromkeys(names, 90.0)] * 2
    >>> gap_of_means(seeds, retrains)  # each seed is 1 point off, in opposite directions
    0.0
    """
    return average_gap(_means(runs), _means(retrains))


def differences(
    metrics: Mapping[str, float], retrain: Mapping[str, float], names: Sequence[str], purpose: str
) -> list[float]:
    """Subtract Retrain's value from the model's for each of *names*.

    Args: purpose: what needs these metrics, for the error message.

    Raises: CounError if a value is missing or None.
    """
    for name in names:
        for model, values in (("the model", metrics), ("Retrain", retrain)):
            if values.get(name) is None:
                raise CounError(f"{model} has no {name}; {purpose} needs all of {names}")
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
    title="Average gap to Retrain", direction="lower", column=50,
)  # fmt: skip
