"""A model that has fitted its forget rows; what the steps of a run read."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
from methods.naive_batches import Read

import coun
from coun.engine import Task
from coun.objectives import BatchContext


@pytest.fixture(scope="session")
def well_trained(small) -> coun.Run:
    return coun.train(small, "cnn", epochs=20)


@pytest.fixture
def fitted(well_trained) -> coun.Run:
    """A cnn after 20 epochs on `small`, which has fitted its forget rows; a copy per test."""
    return replace(well_trained, model=copy.deepcopy(well_trained.model))


@pytest.fixture
def reads(monkeypatch) -> list[Read]:
    """What every step of the next run reads, in order."""
    result: list[Read] = []
    begin = BatchContext.__init__

    def start(self, model, batches, **options):
        begin(self, model, batches, **options)
        labels = {role: batch.labels for role, batch in batches.items()}
        slots = {role: batch.slots for role, batch in batches.items()}
        weights = {k: v.clone() for k, v in model.inner.state_dict().items()}
        result.append(Read(labels, slots, self._inputs, options["progress"], weights))

    monkeypatch.setattr(BatchContext, "__init__", start)
    return result


@pytest.fixture
def held_out(monkeypatch) -> list[coun.Examples]:
    """The held-out rows of the last task."""
    result, begin = [], Task.__init__

    def start(self, *args, **options):
        begin(self, *args, **options)
        result[:] = [self.held_out]

    monkeypatch.setattr(Task, "__init__", start)
    return result
