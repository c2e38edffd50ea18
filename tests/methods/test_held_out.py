"""Held-out matching: its targets, and that measurements leave its calibration rows out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import coun
from coun.methods import make
from coun.metrics import margins

FAST = {"epochs": 1, "batch_size": 32, "lr": 0.02}


def _odds_of(network, data, part, places) -> np.ndarray:
    with torch.no_grad():
        logits = network.eval()(data.views.evaluate(part.images[places]))
    return margins(logits, part.labels[places])


def _targets(fitted, small, split, make_task):
    """The target log-odds of the forget rows, their labels, and the log-odds that explain them.

    Returns: targets (n,) and labels (n,); log-odds before by the part "forget", "retain" and
        "held_out"; and the labels of the last two.
    """
    task = make_task(small, fitted.model, split, reads=("retain", "forget", "held_out"))
    rows = {role: split.rows(small, role) for role in ("forget", "retain")}
    held_out = split.calibration_rows(small)
    task.held_out = small.test.take(held_out)
    labels = {role: small.train.labels[places].numpy() for role, places in rows.items()}
    before = {role: _odds_of(fitted.model, small, small.train, p) for role, p in rows.items()}
    labels["held_out"] = small.test.labels[held_out].numpy()
    before["held_out"] = _odds_of(fitted.model, small, small.test, held_out)
    wanted = margins(make("held_out").targets(task), torch.from_numpy(labels["forget"]))
    return wanted, before, labels


def _unseen(before, labels, label) -> np.ndarray:
    of_class = labels["held_out"] == label
    return before["held_out"][of_class] if of_class.sum() >= 5 else before["held_out"]


def test_many_rows_have_the_quantiles_of_held_out_rows_in_the_originals_order(
    fitted, small, make_task
) -> None:
    split = coun.Split.random(small, 0.5, seed=0)
    wanted, before, labels = _targets(fitted, small, split, make_task)
    for label in np.unique(labels["forget"]):
        own = labels["forget"] == label
        n = own.sum()
        expected = np.quantile(_unseen(before, labels, label), (np.arange(n) + 0.5) / n)
        np.testing.assert_allclose(np.sort(wanted[own]), expected, atol=1e-3)
        order = np.argsort(before["forget"][own], kind="stable")
        assert np.array_equal(np.argsort(wanted[own]), order)


def test_few_rows_for_each_class_have_their_rank_among_all_rows_of_the_class(
    fitted, small, make_task
) -> None:
    """Ranked among themselves, the surest rows of a class would end as unsure as its others."""
    odds = _odds_of(fitted.model, small, small.train, torch.arange(len(small.train)))
    classes = small.train.labels.numpy()
    surest = [
        place
        for label in range(3)
        for place in np.flatnonzero(classes == label)[odds[classes == label].argsort()[-4:]]
    ]
    split = coun.Split.by_index(small, small.train.numbers[surest].tolist())
    wanted, before, labels = _targets(fitted, small, split, make_task)
    for target, odds_before, label in zip(wanted, before["forget"], labels["forget"], strict=True):
        of_class = [before[role][labels[role] == label] for role in ("forget", "retain")]
        trained = np.concatenate(of_class)
        # A row counts half as below itself; the probe allows for rounding of equal values.
        below = np.mean(trained < odds_before - 1e-5) + np.mean(trained <= odds_before + 1e-5)
        expected = np.quantile(_unseen(before, labels, label), below / 2)
        assert abs(target - expected) < 1e-2
    for label in range(3):
        assert wanted[labels["forget"] == label].min() > np.median(_unseen(before, labels, label))


def test_rows_that_the_original_gets_wrong_are_not_taught(small, make_task) -> None:
    """Ranked among themselves, the best of them would get the target of a row that is known."""
    wrong = torch.arange(0, 200, 4)
    labels = small.train.labels.clone()
    labels[wrong] = (labels[wrong] + 1) % 10
    mistaken = replace(small, train=replace(small.train, labels=labels))
    trained = coun.train(small, "cnn", epochs=20)  # on the right labels
    split = coun.Split.by_index(mistaken, small.train.numbers[wrong].tolist())
    wanted, before, _ = _targets(trained, mistaken, split, make_task)
    assert np.mean(before["forget"] < 0) > 0.9
    assert np.all(wanted[before["forget"] < 0] <= before["forget"][before["forget"] < 0] + 1e-3)


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
    # The second request reads the same half again, also where its run is opened from a folder.
    again = coun.unlearn(coun.Run.open(tmp_path / "run", data=small), later, "held_out", **FAST)
    assert again.split.calibrated.tolist() == small.test.numbers[half].tolist()
    assert coun.evaluate(again)["counts"]["test"] == 50


def test_a_test_row_that_a_later_request_names_is_not_read_again(split, small) -> None:
    half = small.test.numbers[split.calibration_rows(small)]
    past = split.leaving_out(half)
    named = coun.data.requests.Listed(rows=(60,), test_rows=(int(half[0]),))
    for later in (
        coun.Split.of(small, named, earlier=past),
        coun.Split.of(small, named).after(small, past),
        past.extended(small, torch.tensor([60]), half[:1]),
    ):
        read = small.test.numbers[later.calibration_rows(small)]
        assert read.tolist() == half[1:].tolist()
        assert later.rows_to_calibrate(small) == 2 * len(read)


def test_few_held_out_rows_are_named(caplog) -> None:
    for test_rows, warned in ((20, True), (60, False)):
        caplog.clear()
        data = coun.load("digits", limit=60, test_limit=test_rows)
        run = coun.train(data, "mlp", epochs=1)
        coun.unlearn(run, coun.Split.random(data, 0.1), "held_out", **FAST)
        assert ("learns from 10 held-out rows" in caplog.text) == warned


def test_a_whole_class_is_refused(original, small) -> None:
    with pytest.raises(coun.CounError, match="forgets class 3 as a whole"):
        coun.unlearn(original, coun.Split.by_class(small, 3), "held_out", **FAST)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"epochs": 2, "batch_size": 32}, True),  # 11 steps
        ({"epochs": 2, "batch_size": 32, "lr": 0.05}, False),
        ({"epochs": 2, "batch_size": 4}, False),  # 85 steps
        ({"epochs": 1, "batch_size": 32, "optimizer": "adamw", "lr": 1e-3}, False),
    ],
)
def test_a_rate_that_is_low_for_few_steps_is_told(original, split, caplog, settings, told) -> None:
    coun.unlearn(original, split, "held_out", **settings)
    assert ("--set lr=0.05" in caplog.text) == told
