"""Accuracies by class, and gaps over several seeds."""

import numpy as np
import pytest
import torch

from coun import CounError
from coun.metrics import (
    GAP_METRICS,
    accuracy,
    average_gap,
    confusion,
    gap_of_means,
)


def run(*values):
    return dict(zip(GAP_METRICS, values, strict=True))


def test_confusion_counts_each_pair_of_classes():
    rng = np.random.default_rng(0)
    logits, labels = torch.from_numpy(rng.normal(size=(50, 4))), torch.arange(50) % 3
    counts = confusion(logits, labels)
    expected = np.zeros((4, 4))
    for row, label in zip(logits, labels, strict=True):
        expected[label, row.argmax()] += 1
    assert (counts == expected).all()
    assert 100 * counts.trace() / 50 == pytest.approx(accuracy(logits, labels))


@pytest.mark.parametrize("labels", [[0, 3], [0, -1], [0, 0.5], [0, float("nan")], [0], [[0, 1]]])
def test_labels_that_do_not_fit_are_refused(labels):
    with np.errstate(invalid="ignore"), pytest.raises(CounError, match="expected"):
        confusion(torch.zeros(2, 3), torch.tensor(labels))


def test_opposite_differences_cancel_only_in_the_means():
    runs = [run(99, 5, 94, 11), run(99, 7, 94, 11)]
    retrains = [run(100, 6, 94, 11), run(100, 6, 94, 11)]
    assert gap_of_means(runs, retrains) == 0.25  # unlearn accuracy: 6 against 6
    assert [average_gap(*pair) for pair in zip(runs, retrains, strict=True)] == [0.5, 0.5]


def test_the_gap_of_one_seed_is_its_average_gap():
    assert gap_of_means([run(99, 5, 94, 11)], [run(100, 6, 94, 12)]) == 0.75


def test_gaps_need_runs_and_every_metric():
    whole = run(1, 2, 3, 4)
    with pytest.raises(CounError, match="no runs"):
        gap_of_means([], [whole])
    with pytest.raises(CounError, match="the model has no mia_efficacy"):
        gap_of_means([whole, whole | {"mia_efficacy": None}], [whole])
