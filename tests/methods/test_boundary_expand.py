"""Boundary expand: a wider head during training, and the old one afterwards."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn
from torch.nn import functional as F

import coun
from coun.data import Views
from coun.engine import Compute, Engine
from coun.methods import make


def test_training_uses_one_more_class_which_is_dropped_afterwards(small, split, make_task):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 10))
    data = replace(small, views=Views(letters=""))
    task = make_task(data, net, split, reads=("forget",))
    method = make("boundary_expand", {"batch_size": 30, "lr": 0.5, "epochs": 3})
    (stage,) = method.plan(net, task)

    wide = nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 11))
    wide[1].load_state_dict(net[1].state_dict())
    with torch.no_grad():
        (extra,) = stage.modules
        wide[3].weight.copy_(torch.cat([net[3].weight, extra.weight]))
        wide[3].bias.copy_(torch.cat([net[3].bias, extra.bias]))
    x = data.train.images[split.rows(data, "forget")].float() / 255
    sgd = torch.optim.SGD(wide.parameters(), 0.5, momentum=0.9)
    for _ in range(3):  # one batch holds all 30 rows, so their order does not matter
        loss = F.cross_entropy(wide(x), torch.full((30,), 10))
        sgd.zero_grad()
        loss.backward()
        sgd.step()

    Engine(task, Compute(torch.device("cpu"), "fp32")).run([stage])
    torch.testing.assert_close(net[1].weight, wide[1].weight)
    torch.testing.assert_close(net[3].weight, wide[3].weight[:10])
    torch.testing.assert_close(net[3].bias, wide[3].bias[:10])
    torch.testing.assert_close(extra.weight, wide[3].weight[10:])


def test_the_shape_stays_and_forget_rows_are_assigned_other_classes(fitted, split):
    run = coun.unlearn(fitted, split, "boundary_expand", epochs=10, batch_size=30, lr=0.01)
    before, after = fitted.model.state_dict(), run.model.state_dict()
    assert {k: v.shape for k, v in before.items()} == {k: v.shape for k, v in after.items()}
    wrong = [coun.evaluate(r, split=split)["unlearn_accuracy"] for r in (fitted, run)]
    assert wrong[1] > wrong[0]
