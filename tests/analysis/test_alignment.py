"""Distances of views against loops, and steepness against linear algebra."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from coun.analysis import jacobian_norms, view_spread
from coun.analysis.alignment import _compare, top_singular
from coun.data import Views
from coun.errors import CounError
from coun.models import Classifier, build, weights_digest

ROWS = torch.arange(30)


@pytest.fixture
def linear(small):
    """Features are a linear map of the pixels."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 12, bias=False), nn.Linear(12, 10))
    return Classifier(net, example=small.views.evaluate(small.train.fetch(torch.arange(2))))


def test_distances_are_those_of_a_loop_over_pairs():
    generator = torch.Generator().manual_seed(0)
    f, x = torch.randn(4, 5, 3, generator=generator), torch.randn(4, 5, 7, generator=generator)
    x[1, 2] = x[0, 2]  # two equal views, of which the slope is not 0 / 0
    farthest, mean_square, slope = _compare(f, x)
    for n in range(5):
        apart, steep = [], []
        for a in range(4):
            for b in range(a):
                u, v = f[a, n] / f[a, n].norm(), f[b, n] / f[b, n].norm()
                apart.append(float((u - v).norm()))
                if float((x[a, n] - x[b, n]).norm()):
                    steep.append(float((f[a, n] - f[b, n]).norm() / (x[a, n] - x[b, n]).norm()))
        assert float(farthest[n]) == pytest.approx(max(apart))
        assert float(mean_square[n]) == pytest.approx(sum(d * d for d in apart) / len(apart))
        assert float(slope[n]) == pytest.approx(max(steep))


def test_identical_views_are_aligned(original, small):
    same = replace(small, views=Views("N", mean=(0.5,), std=(0.5,)))
    spread = view_spread(original.classifier, same, ROWS, views=3)
    assert spread.farthest.tolist() == spread.slope.tolist() == [0] * 30
    assert spread.share(0) == 0
    assert spread.bound(0.1) == 0


def test_r_eps_decreases_from_one_and_is_below_its_bound(original, small):
    digest = weights_digest(original.model)
    spread = view_spread(original.classifier, small, ROWS, views=5)
    assert spread.share(-1) == 1
    assert spread.share(2) == 0
    values = [spread.share(eps) for eps in (0.01, 0.1, 0.3, 1)]
    assert values == sorted(values, reverse=True)
    assert values[0] > 0
    for eps in (0.05, 0.3, 1, 2):
        assert spread.share(eps) <= spread.bound(eps)
    # More views only add pairs.
    more = view_spread(original.classifier, small, ROWS, views=8)
    assert bool((more.farthest >= spread.farthest - 1e-9).all())
    assert weights_digest(original.model) == digest
    again = view_spread(original.classifier, small, ROWS, views=5)
    assert torch.equal(again.farthest, spread.farthest)
    other = view_spread(original.classifier, small, ROWS, views=5, seed=1)
    assert not torch.equal(other.farthest, spread.farthest)


def test_the_steepness_of_a_linear_map_is_its_top_singular_value(linear, small):
    top = float(torch.linalg.matrix_norm(linear.inner[1].weight.detach(), 2))
    norms = jacobian_norms(linear, small, ROWS, steps=400)
    assert norms.tolist() == pytest.approx([top] * 30, rel=1e-3)
    slope = view_spread(linear, small, ROWS).slope
    assert 0 < float(slope.max()) <= top * (1 + 1e-6)


def test_the_steepness_of_a_net_is_that_of_its_whole_jacobian(original, small):
    digest = weights_digest(original.model)
    x = small.views.evaluate(small.train.fetch(ROWS[:2]))
    net = original.classifier.eval()
    norms = jacobian_norms(original.classifier, small, ROWS[:2], steps=60)
    for n in range(2):
        whole = torch.autograd.functional.jacobian(lambda z: net(z).features[0], x[n : n + 1])
        top = torch.linalg.matrix_norm(whole.reshape(128, -1), 2)
        assert float(norms[n]) == pytest.approx(float(top), rel=0.01)
    assert weights_digest(original.model) == digest
    assert torch.equal(norms, jacobian_norms(original.classifier, small, ROWS[:2], steps=60))


def test_samples_of_a_batch_do_not_influence_each_other():
    scale = torch.tensor([1.0, 5.0, 0.0])
    computed = top_singular(
        lambda z: scale[:, None] * z, torch.ones(3, 4), torch.randn(3, 4, generator=_seeded()), 3
    )
    assert computed.tolist() == pytest.approx([1, 5, 0])


def _seeded():
    return torch.Generator().manual_seed(1)


@pytest.mark.parametrize("name", ["vit", "vit-spt-lsa"])
def test_steepness_is_measured_through_attention(name):
    torch.manual_seed(0)
    shape = (3, 32, 32)
    model = Classifier(build(name, classes=10, shape=shape), example=torch.zeros(2, *shape)).eval()
    x, v = torch.randn(2, 1, *shape, generator=_seeded())
    v /= v.norm()
    computed = top_singular(lambda z: model(z).features, x, v, 1)
    with torch.no_grad():  # one step measures |J v|, which is a difference quotient
        rise = model(x + 0.01 * v).features - model(x - 0.01 * v).features
    assert float(computed) == pytest.approx(float(rise.norm()) / 0.02, rel=0.01)


def test_bad_requests_are_refused(original, small):
    with pytest.raises(CounError, match="2 or more"):
        view_spread(original.classifier, small, ROWS, views=1)
    with pytest.raises(CounError, match="at least one"):
        view_spread(original.classifier, small, ROWS[:0])
    with pytest.raises(CounError, match="at least one"):
        jacobian_norms(original.classifier, small, ROWS[:0])
    with pytest.raises(CounError, match="1 or more"):
        jacobian_norms(original.classifier, small, ROWS, steps=0)
