"""EU-k: the last blocks get new weights, and the rest keeps every bit."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import coun
from coun.methods import make
from coun.models import build, weights_digest

FAST = {"epochs": 2, "batch_size": 32, "lr": 0.05}
TAIL = ("convs.6", "convs.7", "encoder", "head")  # of the cnn, with k = 2


def test_frozen_tensors_stay_to_the_bit(original, split):
    model = coun.unlearn(original, split, "eu_k", k=2, **FAST).model
    before = original.model.state_dict()
    for name, value in model.state_dict().items():
        if not name.endswith("num_batches_tracked"):  # the tail's start over, and may agree
            assert torch.equal(value, before[name]) != name.startswith(TAIL), name


@pytest.mark.parametrize("factory", [True, False])
def test_the_last_blocks_start_afresh(small, split, make_task, original, factory):
    model = build("cnn", classes=10, shape=small.shape)
    model.load_state_dict(original.model.state_dict())
    task = make_task(small, model, split, build=original.build if factory else None)
    method = make("eu_k", {"k": 2, **FAST})
    edit = next(iter(method.plan(model, task)))
    with torch.random.fork_rng():
        edit.apply(model)
    blank = build("cnn", classes=10, shape=small.shape).state_dict()
    before = original.model.state_dict()
    for name, value in model.state_dict().items():
        if not name.startswith(TAIL):
            assert torch.equal(value, before[name]), name
        elif value.ndim > 1:
            assert (value != before[name]).float().mean() > 0.99, name
            # A layer's own reset_parameters draws convolutions from another distribution.
            assert 0.3 < value.std() / blank[name].std() < 3, name
        elif "convs" in name:  # BatchNorm: ones, zeros, and no batch seen
            assert torch.equal(value, blank[name]), name


def test_with_every_block_nothing_of_the_original_is_left(original, split):
    other = coun.train(original.data, "cnn", epochs=1, seed=5)
    digests = {
        weights_digest(
            coun.unlearn(
                run.model, split, "eu_k", k=9, data=run.data, build=original.build, **FAST
            ).model
        )
        for run in (original, other)
    }
    assert len(digests) == 1


def test_the_number_of_epochs_is_inherited_from_the_original():
    assert make("eu_k").with_defaults_from({"epochs": 30, "batch_size": 64}).epochs == 30
    assert make("eu_k").with_defaults_from({}).epochs == 182
    assert make("eu_k", {"epochs": 3}).with_defaults_from({"epochs": 30}).epochs == 3


class Scale(nn.Module):
    """A layer that cannot draw new weights."""

    def __init__(self):
        super().__init__()
        self.by = nn.Parameter(torch.ones(8, 8))

    def forward(self, x):
        return x @ self.by


def test_a_layer_that_cannot_be_reset_is_refused_with_a_remedy(small, split):
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), Scale(), nn.Linear(8, 10))
    with pytest.raises(coun.CounError, match=r"'2' \(Scale\).*build=.*smaller k"):
        coun.unlearn(net, split, "eu_k", k=1, data=small, **FAST)
    coun.unlearn(net, split, "eu_k", k=0, data=small, **FAST)
