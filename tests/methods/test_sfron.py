"""SFR-on: weights, masks and steps against loops."""

from __future__ import annotations

import math

import torch
from methods.closed_form import close, gradient, loss, moved, smooth, still

import coun
from coun.methods.sfron import easy_first, salient_ratio

PLAIN = {
    "epochs": 1,
    "batch_size": 200,
    "lr": 0.1,
    "momentum": 0.0,
    "weight_decay": 0.0,
    "schedule": "constant",
    "every": 1,
}


def test_rows_with_a_small_loss_weigh_most() -> None:
    losses = torch.tensor([0.1, 1.0, 2.5, 0.4])
    inverse = [1 / math.sqrt(x) for x in losses.tolist()]
    expected = [4 * x / sum(inverse) for x in inverse]
    torch.testing.assert_close(easy_first(losses, 0.5), torch.tensor(expected))


def test_the_mask_is_a_ratio_of_mean_squared_gradients_of_batches(small, split, make_task) -> None:
    data, net = still(small), smooth()
    task = make_task(data, net, split, reads=("retain", "forget"))
    mask = salient_ratio(task, 20, 1.5)
    fisher = {}
    for role in ("forget", "retain"):
        batches = split.rows(data, role).split(20)
        squares = [[g.square() for g in gradient(net, data, rows)] for rows in batches]
        fisher[role] = [sum(s) / len(batches) for s in zip(*squares, strict=True)]
    for name, f, r in zip(mask, fisher["forget"], fisher["retain"], strict=True):
        differs = mask[name] != (f >= 1.5 * r)
        assert differs.float().mean() < 0.01  # equal up to rounding at the boundary


def test_one_forget_and_one_retain_step_in_closed_form(small, split) -> None:
    data, net = still(small), smooth()
    settings = {**PLAIN, "strength": 2.0, "threshold": 0.0, "max_norm": 1e9}
    run = coun.unlearn(net, split, "sfron", data=data, **settings)
    expected = smooth()
    rows = split.rows(data, "forget")
    logits = expected(data.views.evaluate(data.train.fetch(rows)))
    losses = torch.nn.functional.cross_entropy(logits, data.train.labels[rows], reduction="none")
    w = losses.detach() ** -0.5
    weighted = (w / w.sum() * losses).sum()
    for value in (-2.0 * weighted, None):
        value = loss(expected, data, split.rows(data, "retain")) if value is None else value
        gradients = torch.autograd.grad(value, list(expected.parameters()))
        with torch.no_grad():
            for p, g in zip(expected.parameters(), gradients, strict=True):
                p.sub_(0.1 * g)
    close(moved(run.model, net), moved(expected, net), atol=1e-6)


def test_a_forget_step_is_masked_and_no_longer_than_allowed(small, split, make_task) -> None:
    data, net = still(small), smooth()
    task = make_task(data, net, split, reads=("retain", "forget"))
    mask = salient_ratio(task, 200, 1.0)
    one, none = (
        coun.unlearn(net, split, "sfron", data=data, **{**PLAIN, "lr": 1e-3}, **more)
        for more in ({"strength": 1e4, "max_norm": 0.5}, {"strength": 0.0})
    )
    # The retain steps start from places that are 0.0005 apart, so they differ by far less.
    steps = [
        (a - b) / 1e-3 for a, b in zip(moved(one.model, net), moved(none.model, net), strict=True)
    ]
    length = torch.cat([s.flatten() for s in steps]).norm()
    assert abs(length - 0.5) < 0.01
    for step, kept in zip(steps, mask.values(), strict=True):
        assert bool((step[~kept].abs() < 0.01 * length).all())


def test_every_fifth_step_forgets(original, split) -> None:
    run = coun.unlearn(original, split, "sfron", epochs=2, batch_size=34)
    assert run.record.cost.steps == 2 * (1 + 5)  # 10 retain steps, in two groups
    none = coun.unlearn(original, split, "sfron", epochs=2, batch_size=34, strength=0)
    assert none.record.cost.steps == 10
