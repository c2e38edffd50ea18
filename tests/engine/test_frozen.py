"""Masked weights keep every bit, despite momentum and weight decay."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import coun
from coun.engine import Compute, Engine, Fit, Optimizer, Phase
from coun.engine.frozen import Frozen
from coun.objectives import Objective, cross_entropy

CPU = Compute(torch.device("cpu"), "fp32")


def fit(mask, epochs=2, objective=None, optimizer=None):
    phase = Phase(objective or cross_entropy("retain"), {"retain": 32})
    return Fit((phase,), epochs, optimizer or Optimizer(lr=0.1), mask=mask)


def weights(net):
    return {k: v.clone() for k, v in net.state_dict().items()}


def test_entries_outside_the_mask_stay_and_all_others_move(small, make_task):
    net = coun.models.build("cnn", classes=10, shape=small.shape)
    generator = torch.Generator().manual_seed(0)
    mask = {n: torch.rand(p.shape, generator=generator) < 0.5 for n, p in net.named_parameters()}
    before = weights(net)
    Engine(make_task(small, net), CPU).run([fit(mask)])
    for name, value in net.named_parameters():
        assert torch.equal(value[~mask[name]], before[name][~mask[name]]), name
        # A ReLU that never fires may keep single entries, not most of a tensor.
        moved = (value != before[name])[mask[name]].float().mean()
        assert moved > 0.5, name


def test_without_a_mask_weight_decay_moves_what_has_no_gradient(small, make_task):
    # What restoring avoids; the value was computed independently (lr .1, momentum .9, wd 5e-4)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with torch.no_grad():
        net[1].weight.fill_(1.0)
    zero = Objective.of(lambda step: 0.0 * step.outputs("retain").logits.sum())
    phase = Phase(zero, {"retain": 32}, steps=100)
    constant = Optimizer(lr=0.1, schedule="constant")
    Engine(make_task(small, net), CPU).run([Fit((phase,), 1, constant)])
    assert net[1].weight[0, 0].item() == pytest.approx(0.9553437984, abs=1e-6)
    frozen = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    before = weights(frozen)
    mask = {"1.weight": torch.zeros(10, 64, dtype=torch.bool), "1.bias": True}
    Engine(make_task(small, frozen), CPU).run([Fit((phase,), 1, constant, mask=mask)])
    assert torch.equal(frozen[1].weight, before["1.weight"])


def test_a_frozen_block_keeps_its_batchnorm_statistics(small, make_task):
    net = coun.models.build("cnn", classes=10, shape=small.shape)
    before = weights(net)
    mask = {n: n.startswith("head") for n, _ in net.named_parameters()}
    Engine(make_task(small, net), CPU).run([fit(mask)])
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]) != name.startswith("head"), name
    assert all(p.requires_grad for p in net.parameters())


def test_an_empty_mask_trains_only_the_extra_modules(small, make_task):
    net = coun.models.build("cnn", classes=10, shape=small.shape)
    before, scale = weights(net), nn.Linear(1, 1)
    start = weights(scale)
    term = Objective.of(
        lambda step: (step.outputs("retain").logits.mean() * scale.weight).sum() + scale.bias.sum()
    )
    phase = Phase(term, {"retain": 32})
    Engine(make_task(small, net), CPU).run([Fit((phase,), 1, mask={}, modules=(scale,))])
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert not torch.equal(scale.weight, start["weight"])


def test_a_name_that_is_not_a_parameter_is_refused():
    with pytest.raises(coun.CounError, match="parameter 'weihgt'.*weight"):
        Frozen(nn.Linear(2, 2), {"weihgt": True})
