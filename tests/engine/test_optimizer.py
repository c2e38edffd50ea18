"""Learning rates equal those of torch's schedulers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from coun.engine import Optimizer
from coun.engine.optimizer import set_rate

STEPS = 40


def rates(scheduler: type, **kw: object) -> list[float]:
    sgd = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.2)
    plan = scheduler(sgd, **kw)
    result = []
    for _ in range(STEPS):
        result.append(sgd.param_groups[0]["lr"])
        sgd.step()
        plan.step()
    return result


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (
            Optimizer(lr=0.2, schedule="cosine", lr_floor=0.01),
            (torch.optim.lr_scheduler.CosineAnnealingLR, {"T_max": STEPS, "eta_min": 0.01}),
        ),
        (
            Optimizer(lr=0.2, schedule="multistep"),
            (torch.optim.lr_scheduler.MultiStepLR, {"milestones": [20, 30]}),
        ),
        (
            Optimizer(lr=0.2, schedule="constant"),
            (torch.optim.lr_scheduler.ConstantLR, {"factor": 1.0}),
        ),
    ],
)
def test_schedules_match_torch(ours: Optimizer, theirs: tuple[type, dict[str, object]]) -> None:
    expected = rates(theirs[0], **theirs[1])
    assert [ours.rate(i / STEPS) for i in range(STEPS)] == pytest.approx(expected)


def test_the_rate_rises_from_zero_to_the_peak_and_then_decays() -> None:
    optimizer = Optimizer(lr=0.2, schedule="cosine", warmup=0.25)
    result = [optimizer.rate(i / 8) for i in range(8)]
    assert result[:3] == pytest.approx([0.0, 0.1, 0.2])
    assert result[2:] == sorted(result[2:], reverse=True)


def test_the_floor_never_raises_a_small_rate() -> None:
    assert Optimizer(lr=1e-5, lr_floor=1e-4).rate(0.9) == pytest.approx(1e-5)


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_a_rate_in_a_tensor_gives_the_same_weights_to_the_bit(kind) -> None:
    """As on a GPU, where a number would be copied to the device at each step."""
    how = Optimizer(kind=kind, lr=0.1, warmup=0.2)
    results = []
    for place in (None, torch.device("cpu")):
        torch.manual_seed(0)
        net = nn.Linear(9, 9)
        optimizer = how.build(net.parameters(), rate_on=place)
        for step in range(12):
            set_rate(optimizer, how.rate(step / 12))
            optimizer.zero_grad()
            net(torch.randn(4, 9)).square().sum().backward()
            optimizer.step()
        assert isinstance(optimizer.param_groups[0]["lr"], torch.Tensor) == (place is not None)
        results.append(net.weight.detach())
    assert torch.equal(*results)
