"""Held-out matching: its targets, and that measurements leave its calibration rows out."""

from __future__ import annotations

from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
import torch
from scipy.stats import rankdata
from torch import nn

import coun
from coun.methods import make
from coun.metrics import margins
from coun.plans.matching import answers

FAST = {"epochs": 1, "batch_size": 32, "lr": 0.02}
NORMAL = NormalDist()


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
    wanted = margins(
        make("held_out").targets(task, answers(task, "retain")), torch.from_numpy(labels["forget"])
    )
    return wanted, before, labels


def _unseen(before, labels, label) -> np.ndarray:
    """The held-out log-odds of a class, or with those that it borrows, one row after the other."""
    held_out = list(zip(before["held_out"], labels["held_out"], strict=True))
    own = [odds for odds, of_class in held_out if of_class == label]
    if len(own) >= 5:
        return np.array(own)
    sizes = np.bincount(np.concatenate([labels["forget"], labels["retain"]]), minlength=10)
    prior = [np.log(max(1, n) / (sum(sizes) - max(1, n))) for n in sizes]
    borrowed = sorted(
        (abs(prior[other] - prior[label]), odds - prior[other] + prior[label])
        for odds, other in held_out
        if other != label
    )
    fifth = borrowed[:5][-1][0] + 1e-12
    values = [(moved + prior[label]) / 2 for away, moved in borrowed if away <= fifth]
    count = 5 - len(own)
    return np.array([*own, *np.quantile(values, [(i + 0.5) / count for i in range(count)])])


def _expected_ranks(before, labels, rows) -> np.ndarray:
    """Ranks of the forget rows *rows* for a model that has not seen them, one row after another."""
    of_all = {
        label: np.concatenate([before[r][labels[r] == label] for r in ("forget", "retain")])
        for label in range(10)
    }
    scores = []
    for odds, label in zip(before["forget"][rows], labels["forget"][rows], strict=True):
        # A row counts half as below itself; the probe allows for rounding of equal values.
        trained = of_all[label]
        below = np.mean(trained < odds - 1e-5) + np.mean(trained <= odds + 1e-5)
        scores.append(NORMAL.inv_cdf(below / 2))
    trained = np.concatenate(list(of_all.values()))
    surer = [np.mean(trained < odds) + np.mean(trained <= odds) for odds in before["held_out"]]
    kept = min(1.0, np.mean(surer))  # 1 where trained and unseen rows are alike
    place = rankdata(np.round(scores, 4))
    missing = np.sqrt((kept * np.std(scores)) ** 2 + 1 - kept**2) - kept * np.std(scores)
    return np.array(
        [
            NORMAL.cdf(kept * score + missing * NORMAL.inv_cdf((k - 0.5) / len(scores)))
            for score, k in zip(scores, place, strict=True)
        ]
    )


@pytest.mark.parametrize("count", [1, 4, 9])
@pytest.mark.parametrize("kind", ["easiest", "hardest", "by lot"])
def test_the_targets_are_a_loop_over_rows(fitted, small, make_task, kind, count) -> None:
    odds = _odds_of(fitted.model, small, small.train, torch.arange(len(small.train)))
    classes = small.train.labels.numpy()
    order = {"easiest": -odds, "hardest": odds, "by lot": np.random.default_rng(0).random(200)}
    rows = [
        place
        for label in range(3)
        for place in sorted(np.flatnonzero(classes == label), key=order[kind].__getitem__)[:count]
    ]
    split = coun.Split.by_index(small, small.train.numbers[rows].tolist())
    wanted, before, labels = _targets(fitted, small, split, make_task)
    ranks = _expected_ranks(before, labels, np.arange(len(rows)))
    for target, odds_before, rank, label in zip(
        wanted, before["forget"], ranks, labels["forget"], strict=True
    ):
        expected = np.quantile(_unseen(before, labels, label), rank)
        if odds_before < 0:
            expected = min(expected, odds_before)
        assert abs(target - expected) < 1e-2
    unseen = np.concatenate([_unseen(before, labels, label) for label in range(3)])
    if kind != "by lot":  # ranked among themselves, they would end in the middle
        assert (np.mean(wanted) > np.mean(unseen)) == (kind == "easiest")


def test_a_rare_class_without_held_out_rows_is_forgotten(fitted, small, make_task) -> None:
    """The held-out rows of other classes would keep it: a rarer class is known less."""
    places = {label: (small.train.labels == label).nonzero().flatten() for label in range(10)}
    kept = torch.cat([rows[: 4 if label == 7 else 20] for label, rows in places.items()])
    rare = replace(
        small,
        train=small.train.take(kept),
        test=small.test.take((small.test.labels != 7).nonzero().flatten()),
    )
    split = coun.Split.by_index(rare, small.train.numbers[places[7][:3]].tolist())
    wanted, before, labels = _targets(fitted, rare, split, make_task)
    assert before["forget"].min() > 0  # known to the Original
    expected = _unseen(before, labels, 7)
    assert expected.min() - 1e-3 <= wanted.min() <= wanted.max() <= expected.max() + 1e-3
    assert np.mean(expected) < np.mean(before["held_out"]) / 2 - 1


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


@pytest.mark.parametrize(("batch_size", "told"), [(85, True), (17, False)])
def test_steps_too_few_to_forget_are_told(original, split, caplog, batch_size, told) -> None:
    """The 170 retained rows make four steps in two epochs, or twenty."""
    coun.unlearn(original, split, "held_out", epochs=2, batch_size=batch_size)
    assert ("makes 4 steps in all, after which" in caplog.text) == told


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"epochs": 2, "batch_size": 32}, True),  # 12 steps
        ({"epochs": 2, "batch_size": 32, "lr": 0.05}, False),
        ({"epochs": 2, "batch_size": 4}, False),  # 85 steps
        ({"epochs": 1, "batch_size": 32, "optimizer": "adamw", "lr": 1e-3}, False),
    ],
)
def test_a_rate_that_is_low_for_few_steps_is_told(original, split, caplog, settings, told) -> None:
    coun.unlearn(original, split, "held_out", **settings)
    assert ("--set lr=0.05" in caplog.text) == told


@pytest.mark.parametrize(
    ("odds", "target"),
    [([0.3], [-1.2]), ([60.0, 50.0], [50.0, 55.0]), ([-80.0, 3.0, 1.0], [-9.0, -2.0, 5.0])],
)
def test_what_is_missed_is_what_the_mean_probability_lacks(odds, target):
    odds, target = (torch.tensor(each, dtype=torch.float64) for each in (odds, target))
    missed = make("held_out").missed(odds, target)
    probability = 1 / (1 + np.exp(-(odds.numpy() + missed)))
    np.testing.assert_allclose(probability.mean(), np.mean(1 / (1 + np.exp(-target.numpy()))))


def test_rows_that_cannot_be_met_do_not_move_the_others():
    """The mean of the log-odds would move them by 20 nats, of which two rows lack nothing."""
    odds, target = torch.tensor([[-20.0, 0.0, 0.0], [-80.0, 0.0, 0.0]], dtype=torch.float64)
    assert abs(make("held_out").missed(odds, target)) < 1e-6


def test_a_model_that_a_low_rate_has_trained_is_not_ruined():
    """The usual rate, 0.03, took nine points of retain accuracy from it."""

    def network() -> nn.Module:
        first = (nn.Conv2d(1, 16, 3, padding=1), nn.GroupNorm(1, 16), nn.ReLU())
        second = (nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.GroupNorm(1, 32), nn.ReLU())
        last = (nn.Flatten(), nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 10))
        return nn.Sequential(*first, *second, *last)

    data = coun.load("digits", limit=300)
    original = coun.train(data, network, epochs=20, lr=0.005, batch_size=16)
    for rows in (1, 30):
        split = coun.Split.by_index(data, data.train.numbers[:rows])
        run = coun.unlearn(original, split, "held_out", epochs=3)
        assert run.record.method.settings["lr"] == 0.0015
        result = coun.evaluate(run)
        before = result["start"]["metrics"]["retain_accuracy"]
        assert before > 90
        assert result["retain_accuracy"] > before - 4
    given = coun.unlearn(original, split, "held_out", epochs=1, lr=0.02)
    assert given.record.method.settings["lr"] == 0.02


def test_a_training_that_diverges_is_said(small, split):
    """Large weights are finite, and what the model answers after an epoch is not."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    with torch.no_grad():
        network[3].weight.mul_(1e20)
    with pytest.raises(coun.CounError, match=r"not finite.*lower learning rate"):
        coun.unlearn(network, split, "held_out", data=small, epochs=3, lr=0.03)
