"""Boundary shrink: the labels of the attack equal closed forms, and pixels are attacked."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import coun
from coun.methods import make
from coun.methods.boundary_shrink import nearest_labels


def test_in_a_linear_model_a_label_flips_if_the_margin_is_within_reach(make_task):
    # Of two classes: x moves by -eps * sign(w_y - w_other), so the margin falls by eps * |w|_1.
    g = torch.Generator().manual_seed(0)
    x, net, eps = torch.randn(300, 6, generator=g), nn.Linear(6, 2), 0.2
    with torch.no_grad():
        net.weight.copy_(torch.randn(2, 6, generator=g))
        labels = net(x).argmax(1)
    data = coun.from_arrays(x, labels, x[:20], labels[:20])
    split = coun.Split.by_index(data, range(10, 300))
    task = make_task(data, net, split, reads=("forget",))
    result = nearest_labels(task, eps, batch=64)
    w = (net.weight[0] - net.weight[1]).detach()
    margin = (x @ w + (net.bias[0] - net.bias[1]).detach()).abs()
    expected = torch.where(margin < eps * w.abs().sum(), 1 - labels, labels)
    close = (margin - eps * w.abs().sum()).abs() < 1e-4
    assert torch.equal(result[~close[10:]], expected[10:][~close[10:]])
    assert 0 < int((result != labels[10:]).sum()) < 290


def test_images_are_attacked_in_pixels(small, split, make_task, original):
    task = make_task(small, original.model, split, reads=("forget",))
    rows = split.rows(small, "forget")
    mean, std = small.views.mean[0], small.views.std[0]
    expected = []
    for row in rows.tolist():  # one by one, with the gradient of the pixels themselves
        pixels = (small.train.images[row : row + 1].float() / 255).requires_grad_()
        loss = F.cross_entropy(original.model((pixels - mean) / std), small.train.labels[[row]])
        (slope,) = torch.autograd.grad(loss, pixels)
        moved = (pixels.detach() + 0.3 * slope.sign()).clamp(0, 1)
        moved = (moved * 255).round() / 255
        with torch.no_grad():
            expected.append(int(original.model((moved - mean) / std).argmax()))
    # A slope of rounding's size has another sign in a batch: it may move a row on the boundary.
    same = sum(a == b for a, b in zip(nearest_labels(task, 0.3).tolist(), expected, strict=True))
    assert same >= len(expected) - 2
    assert expected != small.train.labels[rows].tolist()
    with torch.no_grad():
        own = original.model(small.views.evaluate(small.train.images[rows])).argmax(1)
    assert torch.equal(nearest_labels(task, 0.0), own)


def test_the_stage_name_counts_changed_labels_and_training_learns_them(
    small, split, make_task, original
):
    settings = {"eps": 0.3, "lr": 0.02, "epochs": 20, "batch_size": 32}
    task = make_task(small, original.model, split, reads=("forget",))
    result = nearest_labels(task, 0.3)
    rows = split.rows(small, "forget")
    moved = int((result != small.train.labels[rows]).sum())
    run = coun.unlearn(original, split, "boundary_shrink", **settings)
    assert run.record["stages"] == [
        f"shrink to the nearest boundary, the attack moved {moved} of 30"
    ]

    def agree(model):
        with torch.no_grad():
            out = model(small.views.evaluate(small.train.images[rows]))
        return float((out.argmax(1) == result).float().mean())

    assert agree(run.model) > agree(original.model)


def test_views_that_change_the_shape_are_refused(small, split, make_task):
    class Flat:
        def __call__(self, images, generator):
            return self.evaluate(images)

        def evaluate(self, images):
            return images.float().flatten(1) / 255

    data = replace(small, views=Flat())
    net = nn.Linear(64, 10)
    task = make_task(data, net, split, reads=("forget",))
    method = make("boundary_shrink")
    with pytest.raises(coun.CounError, match=r"\(1, 8, 8\) into \(64,\)") as caught:
        method.check(task.classifier, data, split)
    assert "\n" not in str(caught.value)
