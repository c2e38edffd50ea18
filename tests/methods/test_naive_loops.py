"""Whole runs of several methods against loops that were written from the papers' formulas.

Every batch holds all rows of its role, so that no order and no remainder of a batch matters. The
optimizer is written out as well: momentum, weight decay and the learning rate are part of a run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
import torch
from methods.closed_form import close, moved, smooth, still
from torch import Tensor, nn

import coun
from coun.methods import bad_teacher

RATE, MOMENTUM, DECAY = 0.05, 0.9, 5e-4
ALL_ROWS = {
    "batch_size": 200,
    "lr": RATE,
    "momentum": MOMENTUM,
    "weight_decay": DECAY,
    "schedule": "constant",
    "warmup": 0.0,
}

Loss = Callable[[nn.Module], Tensor]


def descend(net: nn.Module, losses: Iterable[Loss]) -> list[Tensor]:
    """One step on each of *losses* in turn, by the equations of SGD; the change of the weights.

    A parameter that a loss does not depend on is not decayed either, as in PyTorch.
    """
    start = [p.detach().clone() for p in net.parameters()]
    velocity = [torch.zeros_like(p) for p in net.parameters()]
    for loss in losses:
        gradients = torch.autograd.grad(loss(net), list(net.parameters()), allow_unused=True)
        with torch.no_grad():
            for p, v, g in zip(net.parameters(), velocity, gradients, strict=True):
                if g is None:
                    continue
                v.mul_(MOMENTUM).add_(g + DECAY * p)
                p.sub_(RATE * v)
    return [p.detach() - s for p, s in zip(net.parameters(), start, strict=True)]


@pytest.fixture
def rows(small, split):
    """The inputs and labels of the rows of a role."""
    data = still(small)

    def of(role: str) -> tuple[Tensor, Tensor]:
        places = split.rows(data, role)
        return data.views.evaluate(data.train.fetch(places)), data.train.labels[places]

    return of


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """The mean of log sum exp z - z_y."""
    return (logits.exp().sum(1).log() - logits[torch.arange(len(labels)), labels]).mean()


def divergence(target: Tensor, logits: Tensor) -> Tensor:
    """The mean over rows of the sum of q log(q / p), where 0 log 0 is 0."""
    logs = logits - logits.exp().sum(1, keepdim=True).log()
    terms = torch.where(target > 0, target * (target.clamp(min=1e-30).log() - logs), 0.0)
    return terms.sum() / len(target)


def run(small, split, method: str, **settings) -> tuple[list[Tensor], nn.Sequential]:
    """The change of the weights by *method*, and the network that it started from."""
    net = smooth()
    unlearned = coun.unlearn(net, split, method, data=still(small), **{**ALL_ROWS, **settings})
    return moved(unlearned.model, net), net


def test_neggrad_plus(small, split, rows) -> None:
    change, net = run(small, split, "neggrad_plus", epochs=4, alpha=0.8)
    (x, y), (u, v) = rows("retain"), rows("forget")

    def loss(model: nn.Module) -> Tensor:
        return 0.8 * cross_entropy(model(x), y) - 0.2 * cross_entropy(model(u), v)

    close(change, descend(net, [loss] * 4), atol=1e-6)


def test_l1_sparse(small, split, rows) -> None:
    change, net = run(small, split, "l1_sparse", epochs=4, gamma=0.01, until=3)
    x, y = rows("retain")

    def at(epoch: int) -> Loss:
        weight = 0.01 * max(0.0, 1 - epoch / 3)
        return lambda model: (
            cross_entropy(model(x), y) + weight * sum(p.abs().sum() for p in model.parameters())
        )

    close(change, descend(net, map(at, range(4))), atol=1e-6)


def test_scrub(small, split, rows) -> None:
    settings = {"epochs": 3, "max_steps": 2, "gamma": 0.9, "alpha": 0.3, "temperature": 2.0}
    change, net = run(small, split, "scrub", forget_batch_size=200, **settings)
    (x, y), (u, _) = rows("retain"), rows("forget")
    teacher = smooth()

    def distance(model: nn.Module, inputs: Tensor) -> Tensor:
        target = (teacher(inputs).detach() / 2).softmax(1)
        return 4 * divergence(target, model(inputs) / 2)

    def climb(model: nn.Module) -> Tensor:
        return -distance(model, u)

    def fall(model: nn.Module) -> Tensor:
        return 0.9 * cross_entropy(model(x), y) + 0.3 * distance(model, x)

    close(change, descend(net, [climb, fall, climb, fall, fall]), atol=1e-6)


def test_bad_teacher(small, split, rows, monkeypatch) -> None:
    teachers, make = [], bad_teacher.bad_teacher
    monkeypatch.setattr(
        bad_teacher, "bad_teacher", lambda task: teachers.append(make(task)) or teachers[-1]
    )
    settings = {"epochs": 3, "optimizer": "sgd", "retain_share": 1.0, "temperature": 2.0}
    change, net = run(small, split, "bad_teacher", **settings)
    (x, _), (u, _) = rows("retain"), rows("forget")
    good, bad, both = smooth(), teachers[0].inner, torch.cat([x, u])
    with torch.no_grad():
        target = (torch.cat([good(x), bad(u)]) / 2).softmax(1)
    close(change, descend(net, [lambda m: divergence(target, m(both) / 2)] * 3), atol=1e-6)


def test_delete(small, split, rows) -> None:
    change, net = run(small, split, "delete", epochs=4)
    u, v = rows("forget")
    with torch.no_grad():
        target = smooth()(u).softmax(1)
        target[torch.arange(len(v)), v] = 0
        target /= target.sum(1, keepdim=True)
    close(change, descend(net, [lambda m: divergence(target, m(u))] * 4), atol=1e-6)


def test_trw(small, split, rows) -> None:
    change, net = run(small, split, "trw", epochs=3, tilt=2.0, weight=0.5)
    (x, y), (u, v) = rows("retain"), rows("forget")
    head = smooth()[3].weight.detach()
    with torch.no_grad():
        target = smooth()(u).softmax(1)
        for row, own in enumerate(v.tolist()):
            for k in range(10):
                cosine = torch.cosine_similarity(head[own], head[k], dim=0)
                target[row, k] *= 0 if k == own else torch.exp(2 * cosine)
        target /= target.sum(1, keepdim=True)

    def loss(model: nn.Module) -> Tensor:
        return cross_entropy(model(x), y) + 0.5 * divergence(target, model(u))

    close(change, descend(net, [loss] * 3), atol=1e-6)


def test_coun(small, split, rows) -> None:
    change, net = run(small, split, "coun", epochs=3, weight=0.7, temperature=0.2)
    x, y = rows("retain")

    def loss(model: nn.Module) -> Tensor:
        features = model[:3](x)
        unit = features / features.square().sum(1, keepdim=True).sqrt()
        similar = (unit @ unit.T / 0.2).exp()  # without random views, both views are equal
        own = similar.diagonal()
        pull = -(own / similar.sum(1)).log().mean() - (own / similar.sum(0)).log().mean()
        return cross_entropy(model(x), y) + 0.7 * pull

    close(change, descend(net, [loss] * 3), atol=2e-6)


def test_mu_mis() -> None:
    # Of two classes the other class is never drawn at random.
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(40, 6, generator=generator)
    y = (x[:, 0] > 0).long()
    data = coun.from_arrays(x, y, x, y, views=coun.Views(letters=""))
    split = coun.Split.by_index(data, range(5, 17))
    net = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2))
    for p in net.parameters():
        nn.init.normal_(p, generator=generator)
    start = [p.detach().clone() for p in net.parameters()]
    settings = {**ALL_ROWS, "lr": RATE, "epochs": 3}
    unlearned = coun.unlearn(net, split, "mu_mis", data=data, **settings)
    u, v = x[5:17], y[5:17]

    def loss(model: nn.Module) -> Tensor:
        # dz_k/dx = sum_h W2[k, h] (1 - tanh^2) W1[h]: the chain rule by hand.
        slope = 1 - model[:2](u).square()
        jacobian = torch.einsum("kh,nh,hd->nkd", model[2].weight, slope, model[0].weight)
        size = jacobian.square().sum(2)
        place = torch.arange(len(v))
        return (size[place, v] - size[place, 1 - v]).clamp(min=0).mean()

    change = [a.detach() - b for a, b in zip(unlearned.model.parameters(), start, strict=True)]
    assert max(float(c.abs().max()) for c in change) > 0.01
    close(change, descend(net, [loss] * 3), atol=1e-5)
