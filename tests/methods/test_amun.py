"""AMUN: the attack against the geometry of a linear model, and what is learned."""

from __future__ import annotations

import torch
from torch import nn

import coun
from coun.methods.amun import adversarial


def test_in_a_linear_model_the_nearest_other_class_is_found(make_task) -> None:
    # Of two classes the boundary is margin / |w| away; the radius doubles, so the attack goes at
    # most twice as far, and it goes along w.
    generator = torch.Generator().manual_seed(0)
    x, net = torch.randn(80, 6, generator=generator), nn.Linear(6, 2)
    with torch.no_grad():
        net.weight.copy_(torch.randn(2, 6, generator=generator))
        labels = net(x).argmax(1)
    data = coun.from_arrays(x, labels, x[:20], labels[:20])
    split = coun.Split.by_index(data, range(10, 80))
    task = make_task(data, net, split, reads=("forget",))
    inputs, classes = adversarial(task, 0.04, 30)
    plain = data.views.evaluate(x[10:])
    w = (net.weight[0] - net.weight[1]).detach()
    with torch.no_grad():
        margin = net(plain).diff(dim=1).flatten().abs() / w.norm()
        assert torch.equal(net(inputs).argmax(1), classes)
    assert torch.equal(classes, 1 - labels[10:])
    change = inputs - plain
    far = change.norm(dim=1)
    assert bool((far >= margin - 1e-5).all())
    assert bool((far <= torch.maximum(2 * margin, torch.tensor(0.04)) + 1e-4).all())
    along = (change @ w).abs() / (far * w.norm())
    assert bool((along > 0.999).all())


def test_it_lowers_the_confidence_of_forget_rows_and_keeps_the_rest(fitted, split, small) -> None:
    settings = {"epochs": 3, "batch_size": 32, "steps": 5}
    run = coun.unlearn(fitted, split, "amun", **settings)
    assert "the attack moved 30 of 30" in run.record.stages[0]

    def confidence(model: nn.Module) -> float:
        rows = split.rows(small, "forget")
        x, y = small.views.evaluate(small.train.images[rows]), small.train.labels[rows]
        with torch.no_grad():
            return float(model(x).softmax(1)[torch.arange(len(y)), y].mean())

    plain = coun.unlearn(fitted, split, "finetune", epochs=3, batch_size=32, lr=0.01)
    assert confidence(run.model) < confidence(plain.model)
    assert coun.evaluate(run)["retain_accuracy"] > 90


def test_the_attack_is_charged(original, split) -> None:
    costs = [
        coun.unlearn(original, split, "amun", epochs=1, batch_size=32, steps=steps).record.cost
        for steps in (1, 3)
    ]
    assert costs[1].trained_images != costs[0].trained_images
    assert costs[0].trained_images >= 170 + 30
