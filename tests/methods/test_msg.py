"""MSG: which weights are drawn anew, and one slow step in closed form."""

from __future__ import annotations

import torch
from methods.closed_form import ONE_STEP, close, gradient, moved, smooth, still

import coun
from coun.methods.msg import difference_of_gradients, staying
from coun.models import weights_digest


def test_gradients_are_summed_over_equally_many_rows(small, split, make_task) -> None:
    data, net = still(small), smooth()
    task = make_task(data, net, split, reads=("retain", "forget"))
    total = difference_of_gradients(task, 10)
    drawn = task.indices("retain rows")
    assert len(drawn) == 30
    assert set(drawn.tolist()) <= set(split.rows(data, "retain").tolist())
    expected = [torch.zeros_like(p) for p in net.parameters()]
    for rows, sign in ((drawn, 1), (split.rows(data, "forget"), -1)):
        for batch in rows.split(10):
            for e, g in zip(expected, gradient(net, data, batch), strict=True):
                e += sign * g
    close(list(total.values()), expected, atol=1e-6)


def test_the_smallest_gradients_of_each_layer_go() -> None:
    g = {"a": torch.randn(4, 5), "b": 100 * torch.randn(10)}
    masks = staying(g, g, 0.3)
    for name, size in (("a", 6), ("b", 3)):
        smallest = g[name].abs().flatten().argsort()[:size]
        assert set((~masks[name]).flatten().nonzero().flatten().tolist()) == set(smallest.tolist())


def test_one_slow_step_in_closed_form(small, split) -> None:
    data, net = still(small), smooth()
    settings = {**ONE_STEP, "fraction": 0.0, "slow": 0.1}
    run = coun.unlearn(net, split, "msg", data=data, **settings)
    g = gradient(net, data, split.rows(data, "retain"))
    factors = [0.1, 1, 1, 1]  # the first weight matrix; biases and the head move at full speed
    close(moved(run.model, net), [-0.1 * f * x for f, x in zip(factors, g, strict=True)])


def test_at_its_neutral_setting_it_is_finetune(original, split) -> None:
    shared = {"epochs": 2, "batch_size": 32, "lr": 0.02, "lr_floor": 0.0, "warmup": 0.5}
    plain = coun.unlearn(original, split, "finetune", **shared)
    neutral = coun.unlearn(original, split, "msg", **shared, fraction=0.0, slow=1.0)
    assert weights_digest(plain.model) == weights_digest(neutral.model)


def test_the_share_is_drawn_anew_and_the_head_stays(original, split) -> None:
    run = coun.unlearn(original, split, "msg", epochs=1, batch_size=200, lr=1e-9, weight_decay=0)
    weights, start = dict(run.model.named_parameters()), dict(original.model.named_parameters())
    changed = {n: (w - start[n]).abs() > 1e-6 for n, w in weights.items()}
    head = f"{original.classifier.head_name}.weight"
    assert not changed[head].any()
    for name, parameter in weights.items():
        if parameter.ndim > 1 and name != head:
            assert abs(float(changed[name].float().mean()) - 0.3) < 0.02
