"""A model that has fitted what it is to forget."""

from __future__ import annotations

import pytest

import coun


@pytest.fixture(scope="session")
def fitted(small) -> coun.Run:
    """The cnn after 20 epochs on `small`, which knows its forget rows. Do not train it further."""
    return coun.train(small, "cnn", epochs=20)
