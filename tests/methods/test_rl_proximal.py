"""RL-proximal: the soft threshold against a loop, its schedule and its neutral setting."""

from __future__ import annotations

import torch
from torch import nn

import coun
from coun.methods.rl_proximal import shrink
from coun.models import weights_digest

FAST = {"epochs": 2, "batch_size": 32, "lr": 0.02}


def test_the_threshold_is_a_quantile_of_all_changes() -> None:
    net = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 2))
    start = {n: p.detach() + torch.randn_like(p) for n, p in net.named_parameters()}
    changes = [
        (n, i, float(p.flatten()[i] - start[n].flatten()[i]))
        for n, p in net.named_parameters()
        for i in range(p.numel())
    ]
    count = int(0.4 * len(changes))
    threshold = sorted(abs(change) for _, _, change in changes)[count - 1]
    shrink(net, start, 0.4)
    left = 0
    for name, i, change in changes:
        kept = max(0.0, abs(change) - threshold) * (1 if change > 0 else -1)
        expected = float(start[name].flatten()[i]) + kept
        assert abs(float(net.get_parameter(name).flatten()[i]) - expected) < 1e-6
        left += kept == 0
    assert left == count


def test_the_share_falls_to_0_over_the_run(original, split, monkeypatch) -> None:
    shares = []
    monkeypatch.setattr(
        "coun.methods.rl_proximal.shrink", lambda model, start, share: shares.append(share)
    )
    run = coun.unlearn(original, split, "rl_proximal", **FAST, fraction=0.8)
    steps = run.record.cost.steps
    assert len(shares) == steps
    expected = [0.8 * (1 - k / steps) for k in range(steps)]
    torch.testing.assert_close(torch.tensor(shares), torch.tensor(expected))


def test_with_fraction_0_it_is_random_label(original, split) -> None:
    plain = coun.unlearn(original, split, "random_label", **FAST)
    for fraction, same in ((0.0, True), (0.5, False)):
        run = coun.unlearn(original, split, "rl_proximal", **FAST, fraction=fraction)
        assert (weights_digest(run.model) == weights_digest(plain.model)) is same
