"""ReGUn: the reference against sampling, and one step against the closed form."""

from __future__ import annotations

import pytest
import torch
from methods.closed_form import ONE_STEP, close, gradient, moved, smooth, still

import coun
from coun.methods.regun import class_means


def test_the_reference_is_the_expectation_of_rows_drawn_by_class() -> None:
    generator = torch.Generator().manual_seed(0)
    p = torch.randn(60, 4, generator=generator).softmax(1)
    labels = torch.randint(3, (60,), generator=generator)
    batch = torch.tensor([0, 0, 2])
    drawn = torch.zeros(4)
    for label in batch.tolist():
        rows = (labels == label).nonzero().flatten()
        drawn += p[rows[torch.randint(len(rows), (20_000,), generator=generator)]].mean(0) / 3
    reference = class_means(p, labels, 5)[batch].mean(0)
    torch.testing.assert_close(reference, drawn, atol=0.005, rtol=0)
    torch.testing.assert_close(class_means(p, labels, 5)[4], p.mean(0))  # a class without rows


def test_one_step_in_closed_form(small, split) -> None:
    data, net = still(small), smooth()
    run = coun.unlearn(net, split, "regun", data=data, weight=0.25, **ONE_STEP)
    held, rows = split.calibration_rows(data), split.rows(data, "forget")
    with torch.no_grad():
        unseen = net(data.views.evaluate(data.test.fetch(held))).softmax(1)
    q = torch.zeros(10)
    for label in data.train.labels[rows].tolist():
        of_class = data.test.labels[held] == label
        q += (unseen[of_class] if bool(of_class.any()) else unseen).mean(0) / len(rows)
    logits = net(data.views.evaluate(data.train.fetch(rows)))
    slope = (logits.detach().softmax(1) - q) / len(rows)
    forget = torch.autograd.grad(logits, list(net.parameters()), slope)
    retain = gradient(net, data, split.rows(data, "retain"))
    steps = [-0.1 * (0.75 * r + 0.25 * f) for r, f in zip(retain, forget, strict=True)]
    close(moved(run.model, net), steps)


def test_it_refuses_whole_classes(original, small) -> None:
    with pytest.raises(coun.CounError, match="forgets class 3 as a whole"):
        coun.unlearn(original, coun.Split.by_class(small, 3), "regun", epochs=1)
