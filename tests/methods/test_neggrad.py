"""NegGrad: it increases the forget loss up to a limit."""

from __future__ import annotations

import copy

import torch
from methods.closed_form import ONE_STEP, close, gradient, loss, moved, smooth, still
from torch.nn import functional as F

import coun
from coun.methods.neggrad import bounded_loss
from coun.models import Classifier
from coun.objectives.context import Batch, BatchContext


def test_one_step_increases_the_loss_by_the_rate_times_the_squared_gradient(small, split):
    data, net = still(small), smooth()
    rows = split.rows(data, "forget")
    settings = {**ONE_STEP, "lr": 1e-2, "max_loss": 1e9}
    run = coun.unlearn(net, split, "neggrad", data=data, **settings)
    slope = gradient(net, data, rows)
    close(moved(run.model, net), [1e-2 * g for g in slope])
    square = sum(float(g.square().sum()) for g in slope)
    before, after = (
        loss(copy.deepcopy(m).double(), _double(data), rows).item() for m in (net, run.model)
    )
    assert 0.97 < (after - before) / (1e-2 * square) < 1.03


def _double(data):
    class Double:
        def evaluate(self, images):
            return data.views.evaluate(images).double()

    return type("Data", (), {"views": Double(), "train": data.train})


def test_a_sample_above_the_limit_has_no_gradient(small):
    data, net = still(small), smooth()
    rows = torch.arange(40)
    images, labels = data.train.fetch(rows), data.train.labels[rows]
    model = Classifier(net, example=data.views.evaluate(images[:2]))
    each = F.cross_entropy(net(data.views.evaluate(images)), labels, reduction="none")
    limit = each.median().item() + 1e-4  # as good as never a sample's own value
    step = BatchContext(
        model,
        {"forget": Batch(images, labels, rows)},
        view=lambda role, number, x: data.views.evaluate(x),
        forward=lambda net, x: net(x),
    )
    result = torch.autograd.grad(bounded_loss(limit)(step), list(net.parameters()))
    below = each < limit
    assert 15 <= int(below.sum()) < 40
    expected = torch.autograd.grad(each[below].sum() / 40, list(net.parameters()))
    close(list(result), list(expected))


def test_the_limit_keeps_the_loss_bounded(small, split):
    data = still(small)
    net = coun.train(data, smooth(), epochs=20, batch_size=32).model
    rows = split.rows(data, "forget")
    common = {"data": data, "epochs": 60, "batch_size": 30, "lr": 0.2, "momentum": 0}
    bounded, free = (
        loss(coun.unlearn(net, split, "neggrad", **common, **more).model, data, rows).item()
        for more in ({}, {"max_loss": 1e9})
    )
    assert loss(net, data, rows).item() < 1 < bounded < 10
    assert free > 3 * bounded
