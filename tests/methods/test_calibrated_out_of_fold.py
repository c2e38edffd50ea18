"""Calibrated out-of-fold matching: where its targets come from, and when they are moved."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import rankdata

import coun
from coun.engine import Task
from coun.methods import make
from coun.metrics import margins
from coun.plans import matching
from coun.plans.matching import answers

FAST = {"epochs": 4, "batch_size": 32}


@pytest.fixture
def task(original, split, small, make_task) -> Task:
    task = make_task(small, original.model, split, reads=("retain", "forget", "held_out"))
    task.held_out = small.test.take(split.calibration_rows(small))
    task.out_of_fold = original.out_of_fold
    return task


def test_the_odds_have_the_folds_ranks_among_all_rows_and_the_held_out_rows_values(
    original, split, small, task
) -> None:
    rows = {role: split.rows(small, role) for role in ("retain", "forget")}
    order = torch.cat([rows["retain"], rows["forget"]])
    table = original.out_of_fold.log_probabilities[:, order]
    labels = small.train.labels[order]
    # With one repeat the mean of the repeats is the repeat itself.
    task.out_of_fold = coun.data.OutOfFold(
        original.out_of_fold.ids, original.out_of_fold.log_probabilities[:1], small.classes
    )
    folds = margins(table[0], labels)
    held_out = small.test.take(split.calibration_rows(small))
    with torch.no_grad():
        logits = original.model.eval()(small.views.evaluate(held_out.images))
    reference = np.sort(margins(logits, held_out.labels))
    expected = []
    for value in folds[len(rows["retain"]) :]:
        share = (np.sum(folds < value) + 0.5) / len(folds)
        expected.append(np.interp(share * (len(reference) - 1), range(len(reference)), reference))
    target = make("calibrated_out_of_fold", FAST).targets(task, answers(task, "retain"))
    wanted = margins(target, small.train.labels[rows["forget"]])
    np.testing.assert_allclose(wanted, expected, atol=1e-2)


def test_the_targets_are_moved_before_each_epoch_but_the_first(original, task, monkeypatch) -> None:
    asked: list[str] = []
    stages = make("calibrated_out_of_fold", FAST).plan(original.model, task)
    first = next(stages)
    measure = matching.answers
    monkeypatch.setattr(matching, "answers", lambda t, role: asked.append(role) or measure(t, role))
    assert [stage.epochs for stage in (first, *stages)] == [1, 1, 1, 1]
    assert asked == ["forget"] * 3


def test_measurements_leave_out_the_rows_that_were_read(original, split, small) -> None:
    run = coun.unlearn(original, split, "calibrated_out_of_fold", epochs=1, batch_size=32)
    half = small.test.numbers[split.calibration_rows(small)]
    assert run.split.held_out.tolist() == half.tolist()
    assert coun.evaluate(run)["counts"]["test"] == len(small.test) - len(half)


def test_rows_of_equal_odds_get_equal_values() -> None:
    values = torch.tensor([1.0, 2.0, 2.0, 2.0, 1.0, 3.0])
    reference = torch.randn(40, dtype=torch.float64)
    shares = (rankdata(values.numpy()) - 0.5) / 6
    np.testing.assert_allclose(
        matching.of_equal_rank(values, reference), np.quantile(reference.numpy(), shares)
    )


def test_harder_rows_keep_lower_odds_in_whatever_order_they_come(task) -> None:
    method = make("calibrated_out_of_fold", FAST)
    unseen = torch.linspace(-3, 5, len(task.held_out), dtype=torch.float64)
    odds = method.expected_odds(task, unseen)
    torch.testing.assert_close(odds, method.expected_odds(task, unseen.flip(0)).flip(0))
    assert (odds.diff() >= 0).all()
