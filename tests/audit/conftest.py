"""A small network that memorises its 300 digits, and three Retrains."""

from dataclasses import replace

import pytest

import coun


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
