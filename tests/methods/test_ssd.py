"""SSD: its rule equals computed values, and its importances equal a plain loop."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import coun
from coun.methods import make, ssd
from coun.methods.ssd import dampen
from coun.models import weights_digest


def one(*values):
    return {"weight": torch.tensor([values], dtype=torch.float64)}


def dampened(scale=1.0, selection=10.0, dampening=1.0):
    net = nn.Linear(4, 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[2.0, -3, 1, 4]]))
    whole, forget = one(1.0, 1, 1, 4), one(5.0, 20, 0.5, 50)
    for part in (whole, forget):
        part["weight"] *= scale
    dampen(net, whole, forget, selection, dampening)
    return net.weight.detach().flatten()


def test_values_computed_by_an_independent_implementation():
    expected = torch.tensor([2, -0.15, 1, 0.32], dtype=torch.float64)
    torch.testing.assert_close(dampened(), expected)
    torch.testing.assert_close(dampened(scale=9.0), expected)  # as a scaled loss gives
    assert torch.equal(dampened(selection=torch.inf), torch.tensor([2.0, -3, 1, 4]).double())
    # 0.05 and 0.08 of the two selected weights times 30 is more than 1: they stay.
    torch.testing.assert_close(dampened(dampening=30.0)[1].item(), -3.0)


def test_an_infinite_selection_is_the_identity(original, split):
    run = coun.unlearn(original, split, "ssd", selection=float("inf"))
    assert weights_digest(run.model) == weights_digest(original.model)


@pytest.mark.parametrize("importance", ["squared_gradient", "label_free"])
def test_importances_equal_a_plain_loop(small, split, make_task, original, monkeypatch, importance):
    seen = []
    monkeypatch.setattr(ssd, "dampen", lambda *args: seen.extend(args[1:3]))
    task = make_task(small, original.model, split, reads=("retain", "forget"))
    method = make("ssd", {"batch_size": 8, "importance": importance})
    next(iter(method.plan(original.model, task))).apply(original.model)
    parameters = dict(original.model.named_parameters())
    for result, role, count in zip(
        seen, ("all, shuffled", "forget, shuffled"), (200, 24), strict=True
    ):
        rows = task.indices(role)
        assert len(rows) == count  # 30 forget rows: the six that fill no batch of 8 are left out
        expected = {name: torch.zeros_like(p) for name, p in parameters.items()}
        for batch in rows.split(8):
            logits = original.model(small.views.evaluate(small.train.images[batch]))
            if importance == "label_free":
                loss = sum(row.norm() ** 2 for row in logits) / 8
            else:
                loss = F.cross_entropy(logits, small.train.labels[batch])
            gradients = torch.autograd.grad(loss, list(parameters.values()))
            for (name, total), g in zip(expected.items(), gradients, strict=True):
                value = g.abs() if importance == "label_free" else g**2
                expected[name] = total + value / (count / 8)
        for name, value in expected.items():
            torch.testing.assert_close(result[name], value, rtol=1e-3, atol=1e-7)


def test_both_sets_use_the_same_batch_size(original, split, monkeypatch):
    sizes, gradients = [], ssd.batch_gradients

    def noted(*args, **kwargs):
        for count, result in gradients(*args, **kwargs):
            sizes.append(count)
            yield count, result

    monkeypatch.setattr(ssd, "batch_gradients", noted)
    coun.unlearn(original, split, "ssd")
    assert sizes == [30] * 7  # six of all 200 rows, one of the 30 to forget


def test_a_class_is_forgotten_and_the_others_less(digits):
    split = coun.Split.by_class(digits, 3)
    original = coun.train(digits, "cnn", epochs=6)
    run = coun.unlearn(original, split, "ssd", selection=50.0)
    before, after = coun.evaluate(original, split=split), coun.evaluate(run)
    assert after["unlearn_accuracy"] > before["unlearn_accuracy"] + 50
    assert after["retain_accuracy"] > 40
