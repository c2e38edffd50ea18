"""Properties of every contrastive loss: precision, finiteness, memory, symmetry, errors."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from objectives.contrastive.cases import (
    ALL,
    COSINE,
    PLAIN,
    ZZ,
    Z,
    derivatives,
    few,
    normal,
    pairs,
    taus,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from coun.objectives import debiased_loss, moco_loss, sce_loss, supcon_loss

every = pytest.mark.parametrize("loss", ALL.values(), ids=ALL)
every_cosine = pytest.mark.parametrize("loss", COSINE.values(), ids=COSINE)
# Losses of a cosine that take no queue and no labels, which would have to follow.
alone = [loss for name, loss in COSINE.items() if name not in {"moco", "supcon"}]

A, B = normal(2, 64, 32)
VIEWS = {
    "random": (A, B),
    "opposite": (A, -A),
    "identical": (A, A),
    "one": (A[:1], B[:1]),
    "zeros left": (A * 0, B),
    "zeros right": (A, B * 0),
    "zeros": (A * 0, B * 0),
    "some zeros": (A * (torch.arange(64) % 2)[:, None], B),
    "collapsed": (A[:1].expand(64, -1), A[:1].expand(64, -1)),
}


@every
@pytest.mark.parametrize("kind", VIEWS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_value_and_gradient_are_finite_at_a_small_temperature(loss, kind, dtype):
    a, b = (x.to(dtype) for x in VIEWS[kind])
    value, gradients = derivatives(lambda a, b: loss(a, b, 0.02), a, b)
    assert value.shape == ()
    assert value.dtype == torch.float32
    assert torch.isfinite(value)
    for gradient in gradients:
        assert gradient.dtype == dtype
        assert torch.isfinite(gradient).all()


@every
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_raised_before_anything_is_computed(loss, dtype):
    a, b = (x.to(dtype) for x in VIEWS["random"])
    assert torch.equal(loss(a, b, 0.02), loss(a.float(), b.float(), 0.02))


@every
def test_float32_is_near_float64_at_a_small_temperature(loss):
    a, b = VIEWS["random"]
    value, exact = loss(a.float(), b.float(), 0.02), loss(a, b, 0.02)
    assert exact.dtype == torch.float64
    assert value.item() == pytest.approx(exact.item(), rel=1e-5)


@every
def test_a_single_sample_has_loss_0(loss):
    value, gradients = derivatives(lambda a, b: loss(a, b, 0.1), Z[:1], ZZ[:1])
    if loss is not COSINE["moco"]:  # whose negatives are in its queue
        assert value == 0
        assert not any(g.any() for g in gradients)


@pytest.mark.parametrize("loss", [f for f in ALL.values() if f is not COSINE["info_nce"]])
def test_zero_rows_get_no_exploding_gradient(loss):
    a, b = VIEWS["some zeros"]
    _, (gradient, _) = derivatives(lambda a, b: loss(a, b, 0.1), a, b)
    assert gradient.norm(dim=1).max() < 100


class Largest(TorchDispatchMode):
    """Records the largest number of elements that any operation returned."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        sizes = [x.numel() for x in tree_leaves(out) if isinstance(x, torch.Tensor)]
        self.elements = max([self.elements, *sizes])
        return out


@every
@pytest.mark.parametrize(("n", "d"), [(512, 128), (16, 256)])
def test_no_tensor_is_larger_than_a_matrix(loss, n, d):
    a, b = (x.clone().requires_grad_() for x in normal(2, n, d).float())
    with Largest() as seen:
        loss(a, b, 0.1).backward()
    assert seen.elements <= max(4 * n * n, 2 * n * d, d * d)
    assert a.grad.any()


def test_the_size_recorder_notices_a_broadcast():
    a = normal(16, 256)
    with Largest() as seen:
        (a[:, None] * a).sum(2)
    assert seen.elements == 16 * 16 * 256


@every_cosine
@few
@given(ab=pairs(least=2), tau=taus, seed=st.integers(0, 1000))
def test_row_lengths_do_not_matter(loss, ab, tau, seed):
    scale = normal(2, len(ab[0]), 1, seed=seed).exp()
    value, (along, _) = derivatives(lambda a, b: loss(a, b, tau), *ab)
    assert loss(ab[0] * scale[0], ab[1] * scale[1], tau).item() == pytest.approx(
        value.item(), abs=1e-9
    )
    # The same said of the gradient: it is orthogonal to its row.
    assert ((along * ab[0]).sum(1).abs() < 1e-8).all()


@pytest.mark.parametrize("loss", alone)
@few
@given(ab=pairs(least=2), tau=taus, seed=st.integers(0, 1000))
def test_a_joint_rotation_does_not_matter(loss, ab, tau, seed):
    a, b = ab
    turn = torch.linalg.qr(normal(a.shape[1], a.shape[1], seed=seed)).Q
    assert loss(a @ turn, b @ turn, tau).item() == pytest.approx(loss(a, b, tau).item(), abs=1e-9)


@pytest.mark.parametrize("loss", [f for f in ALL.values() if f is not COSINE["supcon"]])
@few
@given(ab=pairs(least=2), tau=taus, seed=st.integers(0, 1000))
def test_the_order_of_samples_does_not_matter(loss, ab, tau, seed):
    a, b = ab
    order = torch.randperm(len(a), generator=torch.Generator().manual_seed(seed))
    assert loss(a[order], b[order], tau).item() == pytest.approx(loss(a, b, tau).item(), abs=1e-9)


@pytest.mark.parametrize("name", sorted(ALL.keys() - {"moco", "sce"}))
@few
@given(ab=pairs(least=2), tau=taus)
def test_the_order_of_views_does_not_matter(name, ab, tau):
    (a, b), loss = ab, ALL[name]
    assert loss(a, b, tau).item() == pytest.approx(loss(b, a, tau).item(), abs=1e-9)


@pytest.mark.parametrize("loss", alone + list(PLAIN.values()))
def test_gradients_agree_with_finite_differences(loss):
    a, b = (x.clone().requires_grad_() for x in (Z, ZZ))
    if loss is COSINE["sce"]:
        b = b.detach()
    assert torch.autograd.gradcheck(lambda a, b: loss(a, b, 0.5), (a, b), rtol=1e-6, atol=1e-8)


@every
@pytest.mark.parametrize(
    ("a", "b"), [((4, 3), (4, 2)), ((4, 3), (3, 3)), ((4,), (4,)), ((2, 2, 2), (2, 2, 2))]
)
def test_shapes_that_are_not_two_views_are_refused(loss, a, b):
    a, b = torch.ones(a), torch.ones(b)
    with pytest.raises(ValueError, match="expected one"):
        loss(a, b, 0.1)


@every_cosine
@pytest.mark.parametrize("tau", [0.0, -1.0, float("nan")])
def test_temperature_must_be_positive(loss, tau):
    with pytest.raises(ValueError, match=f"temperature is {tau}.*above 0"):
        loss(Z, ZZ, tau)


def test_other_invalid_arguments_are_refused():
    with pytest.raises(ValueError, match="base_temperature is 0"):
        supcon_loss(Z, ZZ, torch.zeros(4), temperature=0.1, base_temperature=0)
    with pytest.raises(ValueError, match="labels have shape .3,.; expected .4,."):
        supcon_loss(Z, ZZ, torch.zeros(3), temperature=0.1)
    with pytest.raises(ValueError, match="target_temperature is 0"):
        sce_loss(Z, ZZ, temperature=0.1, target_temperature=0, positive=0.5)
    for positive in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="positive is"):
            sce_loss(Z, ZZ, temperature=0.1, target_temperature=0.1, positive=positive)
    for prior in (-0.1, 1.0, math.nan):
        with pytest.raises(ValueError, match="prior is"):
            debiased_loss(Z, ZZ, temperature=0.1, prior=prior)
    for queue in (torch.ones(5, 4), torch.ones(3)):
        with pytest.raises(ValueError, match="queue has shape .*expected .M, 3."):
            moco_loss(Z, ZZ, queue, temperature=0.1)
