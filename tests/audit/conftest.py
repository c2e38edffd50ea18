"""A small network that memorises its 300 digits, and three Retrains."""

from dataclasses import replace

import pytest

import coun
from coun.runs import predictions


@pytest.fixture(scope="session")
def plain():
    """300 digits drawn as the test digits are; no augmentation."""
    data = coun.load("digits", limit=300)
    return replace(data, views=replace(data.views, letters="N"), source="")


@pytest.fixture(scope="session")
def half(plain):
    return coun.Split.random(plain, 0.5, seed=0)


@pytest.fixture(scope="session")
def retrains(plain, half):
    return [coun.train(plain, "cnn", split=half, seed=s, epochs=15) for s in (1, 2, 3)]


@pytest.fixture(scope="session")
def memoriser(plain):
    return coun.train(plain, "cnn", epochs=20)


@pytest.fixture(scope="session")
def hard_rows(plain):
    """A list of rows that a model finds hard, three Retrains without them and an Original."""
    first = coun.train(plain, "cnn", seed=9, epochs=3)
    outputs = predictions(first.classifier, plain, None)
    odds = outputs.outputs["retain"].logits.log_softmax(1)
    odds = odds.gather(1, outputs.labels["retain"][:, None])
    split = coun.Split.by_index(plain, plain.train.numbers[odds[:, 0].argsort()[:60]])
    runs = [coun.train(plain, "cnn", split=split, seed=s, epochs=10) for s in range(1, 6)]
    return split, runs
