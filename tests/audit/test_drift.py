"""Forgotten and test rows that are drawn alike, and four ways in which they are not."""

from __future__ import annotations

import numpy as np
import pytest

import coun
from coun.audit import audit, auditing, drift
from coun.audit.drift import drift_of, input_drift
from coun.audit.parts import RequestParts
from coun.audit.rank_tests import rank_test

NAMES = ("retain", "forget", "test")


def rows(seed: int, change: str = "nothing"):
    """Two classes of points, 300 of each kind of row, by columns and labels."""
    rng = np.random.default_rng(seed)
    labels = {name: rng.integers(2, size=300) for name in NAMES}
    columns = {n: rng.normal(size=(300, 8)) + 2 * y[:, None] for n, y in labels.items()}
    if change == "copies":
        columns["forget"][:60] = columns["retain"][:60]
        labels["forget"][:60] = labels["retain"][:60]
    elif change == "near-copies":
        columns["forget"][:150] = columns["retain"][:150] + 0.1 * rng.normal(size=(150, 8))
        labels["forget"][:150] = labels["retain"][:150]
    elif change == "wrong labels":
        for name in ("retain", "forget"):
            labels[name][:60] = 1 - labels[name][:60]
    elif change == "shifted":
        columns["test"] += 0.5
    return columns, labels


@pytest.mark.parametrize("change", ["copies", "near-copies", "wrong labels", "shifted"])
def test_rows_that_are_not_drawn_alike_are_seen(change):
    assert drift_of(*rows(0, change)) < 0.01


def test_rows_that_are_drawn_alike_are_suspected_as_rarely_as_p_says():
    values = [drift_of(*rows(seed)) for seed in range(30)]
    assert sum(p < 0.1 for p in values) <= 7  # 99% of binomial draws at 0.1
    assert min(values) > 0.0005


def test_neighbours_against_a_loop(monkeypatch):
    columns, labels = rows(1)
    compared = []

    def remember(strata, groups):
        compared.append(groups)
        return rank_test(strata, groups)

    monkeypatch.setattr(drift, "rank_test", remember)
    drift.neighbours_drift(columns, labels)
    spread = columns["retain"].std(0)
    nearest, agreeing = {}, {}
    for name in ("forget", "test", "retain"):
        nearest[name], agreeing[name] = [], []
        for row, (x, y) in enumerate(zip(columns[name], labels[name], strict=True)):
            away = np.sqrt((((columns["retain"] - x) / spread) ** 2).sum(1))
            if name == "retain":
                away[row] = np.inf
            nearest[name].append(away.min())
            agreeing[name].append(np.mean(labels["retain"][away.argsort()[:10]] == y))
    np.testing.assert_allclose(compared[0][0], nearest["forget"], rtol=1e-6)
    np.testing.assert_allclose(compared[0][1], nearest["test"], rtol=1e-6)
    np.testing.assert_allclose(compared[1][0], agreeing["forget"] + agreeing["retain"])
    np.testing.assert_allclose(compared[1][1], agreeing["test"])


def with_copies(count: int, digits: coun.Data) -> coun.Data:
    x, y = digits.train.fetch(np.arange(100)), digits.train.labels[:100]
    parts = [np.concatenate([part, part[:count]]) for part in (x.numpy(), y.numpy())]
    return coun.from_arrays(*parts, x.numpy(), y.numpy())


def test_copies_among_retained_rows_are_left_out_of_a_random_request(digits):
    data = with_copies(10, digits)
    random = coun.Split.random(data, 0.3, seed=1)
    numbers = set(random.forget.tolist())
    # Row n and row 100 + n are the same; where both are forgotten no copy is retained.
    copied = [
        n
        for n in numbers
        if (n < 10 and n + 100 not in numbers) or (n >= 100 and n - 100 not in numbers)
    ]
    parts = RequestParts.of(data, random)
    assert len(copied) > 0
    assert parts.copied == len(copied)
    assert len(parts.exchangeable) == len(numbers) - len(copied)
    assert len(parts.listed) == 0
    forgotten = random.rows(data, "forgotten").numpy()
    assert not set(forgotten[parts.exchangeable].tolist()) & set(copied)
    listed = RequestParts.of(data, coun.Split.by_index(data, range(12)))
    assert (len(listed.listed), listed.copied) == (12, 0)  # their levels are still compared


def test_where_all_rows_have_copies_none_is_compared_with_test_rows(digits):
    data = with_copies(100, digits)
    parts = RequestParts.of(data, coun.Split.random(data, 1 / 200, seed=0))
    assert (len(parts.exchangeable), len(parts.listed), parts.copied) == (0, 1, 0)
    assert input_drift(data, coun.Split.random(data, 1 / 200, seed=0)) is None


def test_a_true_retrain_with_near_copies_is_not_accused(digits):
    rng = np.random.default_rng(0)
    images = digits.train.fetch(np.arange(600)).numpy().astype(np.float32) / 16
    x, y = images[:200], digits.train.labels[:200].numpy()
    near = (x + 0.02 * rng.normal(size=x.shape)).astype(np.float32)
    test = images[200:], digits.train.labels[200:600].numpy()
    data = coun.from_arrays(np.concatenate([x, near]), np.concatenate([y, y]), *test)
    split = coun.Split.random(data, 0.3)
    assert input_drift(data, split) < 0.001


def test_wrong_labels_among_training_rows_do_not_accuse_a_retrain():
    """Given one Retrain's answers, rows with wrong labels would still look harder than test rows.

    Where it errs on a test row, another Retrain may be right; on a wrong label both err.
    """
    digits, rng = coun.load("digits", limit=1000), np.random.default_rng(1001)
    labels = digits.train.labels.numpy().copy()
    wrong = rng.random(len(labels)) < 0.25
    labels[wrong] = rng.integers(0, 10, wrong.sum())
    test = digits.test.images.numpy(), digits.test.labels.numpy()
    data = coun.from_arrays(digits.train.images.numpy(), labels, *test)
    split = coun.Split.random(data, 0.1, seed=1)
    one, other = (coun.train(data, "mlp", split=split, epochs=40, seed=s) for s in (101, 401))
    verdict = audit(other, one, rest=False).verdict
    assert verdict.label in ("inconclusive", "no difference found", "equivalent")


def test_a_class_is_not_called_a_list_where_test_rows_differ(monkeypatch):
    data = coun.load("digits", limit=100, test_limit=100)
    retrain = coun.train(data, "mlp", split=coun.Split.by_class(data, "3"), epochs=1)
    monkeypatch.setattr(auditing, "input_drift", lambda *_: 0.001)
    headline = audit(retrain, rest=False).verdict.headline
    assert "Test rows differ from training rows of their class, and without" in headline


def test_the_answer_names_copies_where_no_row_is_compared_because_of_them(digits):
    data = with_copies(100, digits)
    split = coun.Split.random(data, 1 / 200, seed=0)
    verdict = audit(coun.train(data, "mlp", split=split, epochs=1), rest=False).verdict
    assert "Each forgotten row has a copy among the retained rows" in verdict.headline


@pytest.mark.filterwarnings("error")
def test_rows_of_one_column_are_compared(tmp_path):
    """One number has no standard deviation of its own."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 1)).astype(np.float32)
    labels = (x[:, 0] + rng.normal(size=400) > 0).astype(int)
    data = coun.from_arrays(x[:300], labels[:300], x[300:], labels[300:])
    split = coun.Split.random(data, 0.2, seed=0)
    assert input_drift(data, split) > 0.01
