import math

import pytest
import torch
from torch import nn

from coun.engine import Optimizer


def torch_rates(scheduler, updates):
    """The rates of a torch scheduler, called after every update."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    follow, rates = scheduler(optimizer), []
    for _ in range(updates):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        follow.step()
    return rates


def ours(schedule, updates):
    return [schedule.rate(done / updates) for done in range(updates)]


@pytest.mark.parametrize("updates", [1, 7, 100])
def test_cosine_is_torchs(updates):
    expected = torch_rates(
        lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, updates, eta_min=1e-4), updates
    )
    schedule = Optimizer(lr=0.1, schedule="cosine", lr_floor=1e-4)
    assert ours(schedule, updates) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("epochs", [4, 182])
def test_multistep_is_torchs_where_the_milestones_are_whole_updates(epochs):
    updates = epochs * 22  # of 182 epochs, 75% is no whole epoch, but a whole update
    at = [updates // 2, updates * 3 // 4]
    assert updates * 3 % 4 == 0
    expected = torch_rates(lambda o: torch.optim.lr_scheduler.MultiStepLR(o, at), updates)
    assert ours(Optimizer(lr=0.1, schedule="multistep"), updates) == pytest.approx(expected)


def test_constant_is_constant():
    assert set(ours(Optimizer(lr=0.3, schedule="constant"), 9)) == {0.3}


@pytest.mark.parametrize("schedule", ["cosine", "multistep", "constant"])
def test_warm_up_climbs_linearly_from_zero_to_the_peak(schedule):
    rates = ours(Optimizer(lr=0.1, schedule=schedule, warmup=0.2), 50)
    assert rates[:11] == pytest.approx([0.1 * k / 10 for k in range(11)])
    assert max(rates) == pytest.approx(0.1)


def test_a_cosine_after_a_warm_up_ends_at_the_floor():
    schedule = Optimizer(lr=0.1, schedule="cosine", warmup=0.5, lr_floor=0.01)
    assert schedule.rate(0.75) == pytest.approx(0.055)
    assert schedule.rate(1 - 1e-9) == pytest.approx(0.01)


def test_a_floor_above_the_peak_is_the_peak():
    assert set(ours(Optimizer(lr=1e-5, schedule="cosine", lr_floor=1e-4), 5)) == {1e-5}


def test_weight_decay_and_momentum_alone():
    # Specification, section 8: a weight of 1 without a gradient, 100 steps.
    weight = nn.Parameter(torch.ones(1, dtype=torch.float64))
    sgd = Optimizer(lr=0.1, momentum=0.9, weight_decay=5e-4).build([weight])
    for _ in range(100):
        weight.grad = torch.zeros_like(weight)
        sgd.step()
    assert weight.item() == pytest.approx(0.9553437984, abs=1e-9)


def test_adamw_decays_weights_apart_from_the_gradient():
    weight = nn.Parameter(torch.ones(1, dtype=torch.float64))
    adamw = Optimizer("adamw", lr=0.1, weight_decay=0.5).build([weight])
    weight.grad = torch.full_like(weight, 7.0)
    adamw.step()
    assert weight.item() == pytest.approx(1 * (1 - 0.05) - 0.1, abs=1e-7)
    assert math.isfinite(weight.item())
