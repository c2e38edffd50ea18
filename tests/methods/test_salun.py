"""SalUn: only the most salient weights move."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from methods.closed_form import gradient, smooth, still

import coun
from coun.engine import Compute, Engine
from coun.methods import make
from coun.methods.salun import salient
from coun.models import weights_digest

CPU = Compute(torch.device("cpu"), "fp32")
FAST = {"epochs": 2, "batch_size": 32, "lr": 0.05}
BOTH = ("retain", "forget")


@pytest.mark.parametrize("fraction", [0.001, 0.3, 0.5, 0.999])
def test_the_mask_marks_the_largest_summed_gradients(small, split, make_task, fraction):
    data, net = still(small), smooth()
    task = make_task(data, net, split, reads=BOTH)
    mask = salient(task, fraction, 8)
    parts = split.rows(data, "forget").split(8)
    sums = [sum(g).abs() for g in zip(*(gradient(net, data, p) for p in parts), strict=True)]
    chosen = torch.cat([mask[name].flatten() for name, _ in net.named_parameters()])
    size = torch.cat([g.flatten() for g in sums])
    assert int(chosen.sum()) == math.floor(fraction * len(size))
    assert size[chosen].min() >= size[~chosen].max() - 1e-7
    # Ranked over all parameters at once, not within each.
    shares = torch.stack([m.float().mean() for m in mask.values()])
    assert shares.std() > 0.01 or fraction in (0.001, 0.999)


def test_equal_saliency_is_taken_in_the_order_of_the_parameters(small, split, make_task):
    net = smooth()
    with torch.no_grad():
        for p in net.parameters():
            p.zero_()  # only the last bias has a gradient now
    mask = salient(make_task(still(small), net, split, reads=BOTH), 0.5, 32)
    first = mask["1.weight"].flatten().long()
    assert mask["3.bias"].all()
    assert torch.equal(first, first.sort(descending=True).values)
    assert not mask["3.weight"].any()


def test_weights_outside_the_mask_stay_bit_identical(original, split, make_task):
    run = coun.unlearn(original, split, "salun", fraction=0.3, **FAST)
    task = make_task(original.data, original.model, split, reads=BOTH)
    mask = salient(task, 0.3, 32)
    moved = 0
    for (name, new), old in zip(
        run.model.named_parameters(), original.model.parameters(), strict=True
    ):
        assert torch.equal(new[~mask[name]], old[~mask[name]]), name
        moved += int((new != old).sum())
    assert moved > 0.9 * sum(int(m.sum()) for m in mask.values())


def test_a_mask_that_lets_everything_move_changes_nothing(small, split, original, make_task):
    digests = []
    for mask in (None, True):
        net = original.build()
        net.load_state_dict(original.model.state_dict())
        task = make_task(small, net, split, reads=BOTH)
        stage = make("salun", {**FAST, "fraction": 1}).stage(task)
        if mask:
            whole = {n: torch.ones_like(p, dtype=torch.bool) for n, p in net.named_parameters()}
            stage = replace(stage, mask=whole)
        Engine(task, CPU).run([stage])
        digests.append(weights_digest(net))
    assert digests[0] == digests[1]
