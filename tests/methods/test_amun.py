"""AMUN: the attack against the geometry of a linear model, and what is learned."""

from __future__ import annotations

import torch
from torch import nn

import coun
from coun.methods.amun import adversarial, attack


def test_in_a_linear_model_the_nearest_other_class_is_found(make_task) -> None:
    # Of two classes the boundary is margin / |w| away. The attack goes along w, and ends behind it.
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
    # The last step of a ball of radius r is r / 10 long, and r is less than twice the distance.
    assert bool((far <= torch.maximum(1.2 * margin, margin + 0.004) + 1e-4).all())
    along = (change @ w).abs() / (far * w.norm())
    assert bool((along > 0.999).all())


def test_lengths_are_those_of_pixels_and_pixels_stay_in_range(make_task) -> None:
    generator = torch.Generator().manual_seed(0)
    shape = (24, 3, 4, 4)
    pixels = torch.randint(256, shape, generator=generator, dtype=torch.uint8)
    views = coun.Views("N", mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.5))
    net = nn.Sequential(nn.Flatten(), nn.Linear(48, 3))
    with torch.no_grad():
        net[1].weight.copy_(torch.randn(3, 48, generator=generator))
        labels = net(views.evaluate(pixels)).argmax(1)
    data = coun.from_arrays(pixels, labels, pixels[:9], labels[:9], views=views)
    task = make_task(data, net, coun.Split.by_index(data, range(12)), reads=("forget",))
    inputs, classes = adversarial(task, 0.1, 8)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (views.mean, views.std))
    moved = inputs * std + mean
    assert float(moved.min()) > -1e-6
    assert float(moved.max()) < 1 + 1e-6
    assert bool((classes != labels[:12]).all())

    def model(x: torch.Tensor) -> torch.Tensor:
        return net((x - mean) / std)

    plain = pixels[:12].float() / 255
    bounds = torch.tensor(0.0), torch.tensor(1.0)
    near, now = attack(model, plain, labels[:12], radius=0.1, steps=8, bounds=bounds)
    torch.testing.assert_close(moved, near, rtol=0, atol=1e-4)
    assert torch.equal(classes, now)


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
