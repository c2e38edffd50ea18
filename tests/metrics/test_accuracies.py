"""Accuracies by class, and gaps over several seeds."""

import numpy as np
import pytest
import torch

from coun import CounError
from coun.metrics import (
    GAP_METRICS,
    accuracy,
    average_gap,
    class_accuracy,
    confusion,
    gap_of_means,
    paired_gaps,
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


def test_class_accuracy_is_nan_for_an_absent_class_and_ties_go_to_the_lowest():
    logits = [[1, 1, 0], [0, 2, 0], [3, 0, 0]]
    computed = class_accuracy(logits, [0, 1, 1])
    assert computed[:2].tolist() == [100, 50]
    assert np.isnan(computed[2])


@pytest.mark.parametrize("labels", [[0, 3], [0, -1], [0, 0.5], [0, float("nan")], [0], [[0, 1]]])
def test_labels_that_do_not_fit_are_refused(labels):
    with np.errstate(invalid="ignore"), pytest.raises(CounError, match="expected"):
        confusion(torch.zeros(2, 3), torch.tensor(labels))


def test_opposite_differences_cancel_only_in_the_means():
    runs = [run(99, 5, 94, 11), run(99, 7, 94, 11)]
    retrains = [run(100, 6, 94, 11), run(100, 6, 94, 11)]
    assert gap_of_means(runs, retrains) == 0.25  # unlearn accuracy: 6 against 6
    assert paired_gaps(runs, retrains) == [0.5, 0.5]


def test_the_mean_paired_gap_is_never_below_the_gap_of_means():
    rng = np.random.default_rng(1)
    for _ in range(20):
        runs, retrains = ([run(*x) for x in rng.normal(50, 5, (5, 4))] for _ in range(2))
        assert np.mean(paired_gaps(runs, retrains)) >= gap_of_means(runs, retrains) - 1e-9
    assert paired_gaps(runs[:1], retrains[:1]) == [average_gap(runs[0], retrains[0])]
    assert gap_of_means(runs[:1], retrains[:1]) == average_gap(runs[0], retrains[0])


def test_gaps_need_a_retrain_for_each_run_and_every_metric():
    whole = run(1, 2, 3, 4)
    with pytest.raises(CounError, match="2 runs and 1 Retrains"):
        paired_gaps([whole] * 2, [whole])
    with pytest.raises(CounError, match="no runs"):
        gap_of_means([], [whole])
    with pytest.raises(CounError, match="the model has no mia_efficacy"):
        gap_of_means([whole, whole | {"mia_efficacy": None}], [whole])
