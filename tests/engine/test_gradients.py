"""Gradients by batches equal autograd on all rows at once."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from coun.engine import batch_gradients, mean_gradient


def test_the_mean_gradient_is_that_of_the_whole_set(small, split, make_task, original):
    task = make_task(small, original.model, split, reads=("forget",))
    task.flops = 1.0
    result = mean_gradient(task, "forget", batch_size=7)  # 30 rows: batches of unequal size
    rows = task.indices("forget")
    logits = original.model(small.views.evaluate(small.train.images[rows]))
    loss = F.cross_entropy(logits, small.train.labels[rows])
    parameters = dict(original.model.named_parameters())
    expected = torch.autograd.grad(loss, list(parameters.values()))
    for name, value in zip(parameters, expected, strict=True):
        torch.testing.assert_close(result[name], value, rtol=1e-4, atol=1e-6)
    assert task.cost.trained_images == 30
    assert task.cost.flops == 90.0


def test_modes_and_gradients_are_unchanged_and_the_limit_holds(small, make_task, original):
    task = make_task(small, original.model)
    original.model.train()
    try:
        batches = batch_gradients(task, "retain", batch_size=8, limit=20)
        assert [count for count, _ in batches] == [8, 8, 4]
        assert all(m.training for m in original.model.modules())
        assert all(p.grad is None for p in original.model.parameters())
    finally:
        original.model.eval()
