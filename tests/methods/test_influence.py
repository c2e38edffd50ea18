"""The influence step against dense algebra, and the authors' recursion against the true one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import coun
from coun.engine import Compute, Engine, batch_gradients
from coun.methods import make
from coun.models import weights_digest
from coun.plans.curvature import solve_fisher, woodfisher_recursion

COUNT = 20


@pytest.fixture(scope="module")
def net(small, dropping):
    """A perceptron of 1810 weights, trained a little, on `small`."""
    return coun.train(small, dropping, epochs=2).model


def gradients(task, role):
    """One sample's gradient a row, float64."""
    rows = [
        torch.cat([g.flatten() for g in result.values()])
        for _, result in batch_gradients(task, role, batch_size=1)
    ]
    return torch.stack(rows).double().numpy()


@pytest.fixture
def task(small, split, make_task, net):
    task = make_task(small, net, split, reads=("retain", "forget"))
    task.define("samples", task.indices("retain")[:COUNT])
    return task


@pytest.fixture
def v(task):
    size = sum(p.numel() for p in task.classifier.inner.parameters())
    return torch.randn(size, generator=torch.Generator().manual_seed(0))


def error(result, expected, v):
    """Relative to what the inverse does to v."""
    v = v.double().numpy()
    return np.linalg.norm(result.double().numpy() - expected) / np.linalg.norm(expected - v)


@pytest.mark.parametrize("batch_size", [7, 64])
def test_exact_is_the_dense_inverse(task, v, batch_size):
    g = gradients(task, "samples")
    for count in (COUNT, 1):  # with 1 the samples' part outweighs the identity
        dense = np.linalg.solve(np.eye(len(v)) + g.T @ g / count, v.double().numpy())
        assert error(solve_fisher(task, "samples", v, count, batch_size), dense, v) < 1e-4


def test_exact_is_sherman_morrison_and_the_reference_is_not(task, v):
    # H_t g_t for each new g_t, which the authors' recursion lacks.
    rows, k = gradients(task, "samples"), v.double().numpy()
    directions = []
    for g in rows:
        hg = g.copy()
        for d, scale in directions:
            hg -= d * (d @ g) / scale
        scale = COUNT + hg @ g
        k = k - hg * (k @ g) / scale
        directions.append((hg, scale))
    assert error(solve_fisher(task, "samples", v, COUNT, 64), k, v) < 1e-4
    reference = woodfisher_recursion(task, "samples", v, COUNT)
    assert error(reference, k, v) > 0.5
    # All that it takes away points along the first sample's gradient.
    change = (reference - v).double().numpy()
    cosine = change @ rows[0] / np.linalg.norm(change) / np.linalg.norm(rows[0])
    assert abs(cosine) == pytest.approx(1, abs=1e-4)


def test_the_step_is_the_papers(small, split, make_task, net, task):
    g, forget = gradients(task, "retain"), gradients(task, "forget")
    n, u = len(g) + len(forget), len(forget)
    v = forget.sum(0) / n - u / (n * len(g)) * g.sum(0)
    step = np.linalg.solve(np.eye(len(v)) + g.T @ g / 500, v)
    before = torch.cat([p.detach().flatten() for p in net.parameters()]).double().numpy()
    run = coun.unlearn(net, split, "influence", data=small, alpha=3.0, samples=500)
    after = torch.cat([p.detach().flatten() for p in run.model.parameters()]).double().numpy()
    assert np.linalg.norm(after - before - 3 * step) < 1e-3 * np.linalg.norm(3 * step)


def test_it_raises_the_forget_loss(original, split):
    def loss(run):
        rows = split.rows(run.data, "forget")
        images = run.data.views.evaluate(run.data.train.images[rows])
        return F.cross_entropy(run.model(images), run.data.train.labels[rows]).item()

    for mode in ("exact", "reference"):
        run = coun.unlearn(original, split, "influence", mode=mode, alpha=1.0)
        assert loss(run) > loss(original)


def test_alpha_0_is_the_identity_and_samples_are_drawn_by_seed(original, split):
    def digest(**settings):
        return weights_digest(coun.unlearn(original, split, "influence", **settings).model)

    assert digest(alpha=0) == weights_digest(original.model)
    assert digest(samples=20, seed=1) == digest(samples=20, seed=1) != digest(samples=20, seed=2)


def test_samples_are_not_the_first_rows(small, split, make_task, net):
    task = make_task(small, net, split, reads=("retain", "forget"))
    method = make("influence", {"samples": 10})
    Engine(task, Compute(torch.device("cpu"), "fp32")).run([])
    next(iter(method.plan(net, task)))
    drawn = task.indices("influence")
    assert len(drawn) == 10
    assert not torch.equal(drawn.sort().values, task.indices("retain")[:10])


def test_a_layer_without_second_derivative_is_named() -> None:
    class Bag(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bag, self.last = nn.EmbeddingBag(30, 4), nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(self.bag(x))

    tokens, labels = torch.arange(120).reshape(24, 5) % 30, torch.arange(24) % 2
    data = coun.from_arrays(tokens, labels, tokens, labels)
    start, split = coun.train(data, Bag, epochs=1), coun.Split.by_index(data, [3])
    with pytest.raises(coun.CounError, match="no second derivative in torch.*mode=reference"):
        coun.unlearn(start, split, "influence", samples=2)
    assert coun.unlearn(start, split, "influence", samples=2, mode="reference").split is split
