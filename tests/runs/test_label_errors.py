"""Suspicious labels, against the definition written as a loop, and against labels that we spoil."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import coun
from coun.errors import CounError
from coun.runs.label_errors import confident_classes


def by_definition(probabilities: np.ndarray, labels: np.ndarray) -> list[int]:
    """Confident learning, section 3.1 of the paper, one row after the other."""
    usual = {
        k: np.mean([p[k] for p, y in zip(probabilities, labels, strict=True) if y == k])
        for k in {*labels}
    }
    classes = []
    for row in probabilities:
        sure = [k for k, limit in usual.items() if row[k] >= limit]
        classes.append(int(max(sure, key=lambda k: row[k])) if sure else -1)
    return classes


def test_the_counted_class_is_that_of_the_definition() -> None:
    generator = np.random.default_rng(0)
    for _ in range(5):
        table = generator.dirichlet(np.ones(4), 40)
        labels = generator.integers(0, 3, 40)  # no row has the label 3
        counted = confident_classes(torch.from_numpy(table), torch.from_numpy(labels))
        assert counted.tolist() == by_definition(table, labels)


def spoiled(data: coun.Data, rows: list[int]) -> coun.Data:
    labels = data.train.labels.clone()
    labels[rows] = (labels[rows] + 5) % 10
    return replace(data, train=replace(data.train, labels=labels))


@pytest.fixture(scope="module")
def data() -> coun.Data:
    return spoiled(coun.load("digits", limit=300), [3, 50, 120])


def test_a_run_is_given_as_a_run_or_as_its_folder(tmp_path, refused) -> None:
    run = coun.train(coun.load("digits", limit=60), "mlp", epochs=2, out=tmp_path / "run")
    with refused("no out-of-fold predictions", "coun prepare"):
        coun.suspicious_labels(tmp_path / "run")
    rows = coun.suspicious_labels(coun.prepare(run, folds=2, repeats=1))
    assert coun.suspicious_labels(tmp_path / "run") == rows
    assert coun.suspicious_labels(str(tmp_path / "run")) == rows
    with refused("run is an object of type int", "or its folder"):
        coun.suspicious_labels(3)
    with refused("folds is an object of type float", "an integer"):
        coun.prepare(run, folds=2.5)
    with refused("epochs is an object of type str", "an integer"):
        coun.prepare(run, epochs="3")


def test_spoiled_labels_are_suspicious(data) -> None:
    run = coun.prepare(coun.train(data, "mlp", epochs=1), folds=3, repeats=1, epochs=40)
    rows = coun.suspicious_labels(run)
    wrong = set(data.train.numbers[[3, 50, 120]].tolist())
    assert len(wrong & {row.number for row in rows}) >= 2
    assert len(rows) < 40
    assert [row.probability for row in rows] == sorted(row.probability for row in rows)
    names = dict(zip(data.ids, data.train.labels.tolist(), strict=True))
    for row in rows:
        assert data.classes[names[row.id]] == row.label != row.suggested
    # Once rows are forgotten, they are not looked at any more.
    split = coun.Split.by_id(data, [rows[0].id])
    after = coun.unlearn(run, split, "finetune", epochs=1)
    assert rows[0].id not in {row.id for row in coun.suspicious_labels(after)}


def test_a_run_that_is_not_prepared_says_what_to_do(data) -> None:
    with pytest.raises(CounError, match=r"coun prepare"):
        coun.suspicious_labels(coun.train(data, "mlp", epochs=1))
