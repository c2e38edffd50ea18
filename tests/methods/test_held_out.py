"""Held-out matching: its targets, and that measurements leave its calibration rows out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import coun
from coun.methods import make
from coun.metrics import margins

FAST = {"epochs": 1, "batch_size": 32, "lr": 0.02}


def test_targets_have_the_quantiles_of_held_out_rows_in_the_originals_order(
    fitted, split, small, make_task
) -> None:
    task = make_task(small, fitted.model, split, reads=("retain", "forget", "held_out"))
    rows = split.calibration_rows(small)
    task.held_out = small.test.take(rows)
    target = make("held_out").targets(task)

    def log_odds(part, places):
        with torch.no_grad():
            logits = fitted.model.eval()(small.views.evaluate(part.images[places]))
        return margins(logits, part.labels[places])

    forget = split.rows(small, "forget")
    labels = small.train.labels[forget].numpy()
    before, unseen = log_odds(small.train, forget), log_odds(small.test, rows)
    wanted = margins(target, labels)
    for label in np.unique(labels):
        own, reference = labels == label, small.test.labels[rows].numpy() == label
        pool = unseen[reference] if reference.sum() >= 5 else unseen
        n = own.sum()
        expected = np.quantile(pool, (np.arange(n) + 0.5) / n)
        np.testing.assert_allclose(np.sort(wanted[own]), expected, atol=1e-3)
        assert np.array_equal(np.argsort(wanted[own]), np.argsort(before[own], kind="stable"))


def test_measurements_leave_the_calibration_rows_out(original, split, small, tmp_path) -> None:
    half = split.calibration_rows(small)
    assert len(half) == 50
    run = coun.unlearn(original, split, "held_out", **FAST, out=tmp_path / "run")
    assert run.split.held_out.tolist() == small.test.numbers[half].tolist()
    assert coun.evaluate(run)["counts"]["test"] == 50
    exact = coun.train(small, "cnn", split=split, epochs=1)
    compared = coun.evaluate(run, against=exact)
    assert compared["counts"]["test"] == 50
    assert len(split.held_out) == 0  # the caller's split is not changed
    later = coun.Split.by_index(small, range(60, 70), earlier=run.split)
    again = coun.unlearn(run, later, "held_out", **FAST)
    assert coun.evaluate(again)["counts"]["test"] == 25


def test_a_whole_class_is_refused(original, small) -> None:
    with pytest.raises(coun.CounError, match="forgets class 3 as a whole"):
        coun.unlearn(original, coun.Split.by_class(small, 3), "held_out", **FAST)
