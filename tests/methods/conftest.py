"""A model that has fitted the rows that it must forget."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest

import coun


@pytest.fixture(scope="session")
def well_trained(small) -> coun.Run:
    return coun.train(small, "cnn", epochs=20)


@pytest.fixture
def fitted(well_trained) -> coun.Run:
    """A cnn after 20 epochs on `small`, which has fitted its forget rows; a copy per test."""
    return replace(well_trained, model=copy.deepcopy(well_trained.model))
