"""Amnesiac: the replay repeats the training, and its updates are subtracted."""

from __future__ import annotations

import pytest
import torch

import coun
from coun.engine import Engine
from coun.models import weights_digest
from coun.seeds import Seeds


def copy_of(model):
    return {name: p.detach().clone() for name, p in model.named_parameters()}


@pytest.mark.parametrize("net", ["cnn", "dropping"])
def test_the_replay_ends_at_the_weights_of_the_original_bit_for_bit(net, small, split, dropping):
    original = coun.train(small, dropping if net == "dropping" else net, epochs=2, seed=5)
    coun.unlearn(original, split, "amnesiac", repair=False, tolerance=0)  # or it would refuse


def test_the_update_of_one_batch_is_subtracted_exactly(small, monkeypatch):
    updates, update = [], Engine._update

    def noted(self, at, one, forward, loaded, *rest):
        before = copy_of(self.task.classifier.inner)
        update(self, at, one, forward, loaded, *rest)
        updates.append((loaded["retain"][2], before, copy_of(self.task.classifier.inner)))

    with monkeypatch.context() as patch:
        patch.setattr(Engine, "_update", noted)
        original = coun.train(small, "cnn", epochs=1, batch_size=40)
    rows, before, after = updates[2]
    split = coun.Split.by_index(small, small.train.index[rows[:4]])
    run = coun.unlearn(original, split, "amnesiac", repair=False)
    for name, weight in run.model.named_parameters():
        expected = original.model.get_parameter(name) - (after[name] - before[name])
        assert torch.equal(weight, expected), name
    buffers = zip(run.model.buffers(), original.model.buffers(), strict=True)
    assert all(torch.equal(a, b) for a, b in buffers)


def test_if_every_batch_is_affected_the_initial_weights_are_left(original, small):
    # Every second row: no batch of the Original's 64 has none of them.
    split = coun.Split.by_index(small, range(0, 200, 2))
    run = coun.unlearn(original, split, "amnesiac", repair=False)
    with Seeds(0).fork("original").as_global("init", "original"):
        first = original.build()
    for result, expected in zip(run.model.parameters(), first.parameters(), strict=True):
        torch.testing.assert_close(result, expected, rtol=0, atol=1e-6)


def test_the_replay_is_charged(original, split):
    cost = coun.unlearn(original, split, "amnesiac", epochs=2, batch_size=50).record["cost"]
    assert cost["trained_images"] == 3 * 200 + 2 * 170
    assert cost["flops"] == pytest.approx(original.record["cost"]["flops"] * (600 + 340) / 600)
    assert cost["steps"] == 2 * 4  # of the repair


def test_repair_is_fine_tuning_of_what_is_left(original, split):
    bare = coun.unlearn(original, split, "amnesiac", repair=False)
    run = coun.unlearn(original, split, "amnesiac", epochs=1)
    assert run.record["stages"] == ["take back updates", "amnesiac"]
    assert bare.record["stages"] == ["take back updates"]
    joined = coun.unlearn(original, split, "amnesiac", epochs=1, contrast={"weight": 0.5})
    assert weights_digest(joined.model) != weights_digest(run.model)


def test_a_start_that_is_not_the_original_is_refused(original, split, small):
    later = coun.unlearn(original, split, "finetune", epochs=1)
    with pytest.raises(coun.CounError, match="start from the Original itself"):
        coun.unlearn(later, split, "amnesiac")
    with pytest.raises(coun.CounError, match="needs to know how the Original was trained"):
        coun.unlearn(original.model, split, "amnesiac", data=small)
