import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from objectives.contrastive import twins
from objectives.contrastive.cases import ZZ, Z, assert_twins, few, pairs, taus
from pytorch_metric_learning.losses import NTXentLoss, SelfSupervisedLoss
from torch.nn import functional as F

from coun.objectives import info_nce_loss


@pytest.mark.parametrize(
    ("tau", "value"), [(1, 2.3343384627), (0.5, 1.9774835123), (0.1, 0.6593595567)]
)
def test_reference_values(tau, value):
    assert info_nce_loss(Z, ZZ, temperature=tau).item() == pytest.approx(value, abs=1e-9)
    half = info_nce_loss(Z, ZZ, temperature=tau, directions="mean").item()
    assert half == pytest.approx(value / 2, abs=1e-9)


def test_orthogonal_pairs_have_a_closed_form():
    eye = torch.eye(2, dtype=torch.float64)
    value = info_nce_loss(eye, eye, temperature=1).item()
    assert value == pytest.approx(2 * math.log(1 + 1 / math.e), abs=1e-12)
    assert value == pytest.approx(0.6265233750, abs=1e-9)


@pytest.mark.parametrize("n", [2, 4, 257])
def test_collapsed_embeddings_give_twice_log_n(n):
    same = torch.ones(n, 3, dtype=torch.float64)
    value = info_nce_loss(same, same, temperature=0.1).item()
    assert value == pytest.approx(2 * math.log(n), abs=1e-9)


@few
@given(pairs(), taus)
def test_the_loss_equals_its_definition(ab, tau):
    assert_twins(info_nce_loss, twins.info_nce, *ab, temperature=tau)


@few
@given(pairs(least=2), taus)
def test_the_loss_equals_another_library(ab, tau):
    a, b = ab
    one_way = SelfSupervisedLoss(NTXentLoss(tau), symmetric=False)
    both = one_way(a, b) + one_way(b, a)
    torch.testing.assert_close(info_nce_loss(a, b, temperature=tau), both, rtol=1e-8, atol=1e-8)


def test_equals_the_papers_printed_form_where_that_does_not_overflow():
    # Exponentials without a shift, both directions added.
    s = (F.normalize(Z, dim=1) @ F.normalize(ZZ, dim=1).T / 0.1).exp()
    rows, columns = s.diag() / s.sum(1), s.diag() / s.sum(0)
    printed = -rows.log().mean() - columns.log().mean()
    torch.testing.assert_close(info_nce_loss(Z, ZZ, temperature=0.1), printed, rtol=0, atol=1e-12)


@few
@given(pairs(), taus)
def test_gradient_has_the_closed_form(ab, tau):
    a, b = (x.clone().requires_grad_() for x in ab)
    info_nce_loss(a, b, temperature=tau).backward()
    length = ab[0].norm(dim=1, keepdim=True)
    u, v = F.normalize(ab[0], dim=1), F.normalize(ab[1], dim=1)
    s = u @ v.T / tau
    to_u = ((s.softmax(1) + s.softmax(0)) @ v - 2 * v) / (tau * len(u))
    expected = (to_u - (to_u * u).sum(1, keepdim=True) * u) / length
    torch.testing.assert_close(a.grad, expected, rtol=1e-8, atol=1e-9)
    assert torch.isfinite(b.grad).all()


def test_both_views_get_a_gradient():
    a, b = Z.clone().requires_grad_(), ZZ.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x, y: info_nce_loss(x, y, temperature=0.5), (a, b))
    info_nce_loss(a, b, temperature=0.5).backward()
    assert a.grad.norm() > 0
    assert b.grad.norm() > 0


@few
@given(pairs(), taus, st.integers(0, 1000))
def test_scale_and_order_do_not_matter(ab, tau, seed):
    (a, b), generator = ab, torch.Generator().manual_seed(seed)
    base = info_nce_loss(a, b, temperature=tau).item()
    same = pytest.approx(base, abs=1e-9)

    def random(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    scale = random(len(a), 1).exp()
    rotation = torch.linalg.qr(random(a.shape[1], a.shape[1])).Q
    order = torch.randperm(len(a), generator=generator)
    assert info_nce_loss(b, a, temperature=tau).item() == same
    assert info_nce_loss(a * scale, b * 3, temperature=tau).item() == same
    assert info_nce_loss(a @ rotation, b @ rotation, temperature=tau).item() == same
    assert info_nce_loss(a[order], b[order], temperature=tau).item() == same


@few
@given(pairs(least=2), taus)
def test_the_loss_is_within_its_bounds(ab, tau):
    value = info_nce_loss(*ab, temperature=tau).item()
    assert 0 <= value <= 2 * (math.log(len(ab[0])) + 2 / tau)


def test_a_single_pair_has_loss_0():
    assert info_nce_loss(Z[:1], ZZ[:1], temperature=0.1).item() == 0


def test_identical_views_at_a_small_temperature_have_loss_0():
    assert info_nce_loss(Z, Z, temperature=1e-3).item() == pytest.approx(0, abs=1e-12)


def test_zero_vectors_stay_finite():
    a = torch.zeros(4, 3, requires_grad=True)
    loss = info_nce_loss(a, torch.ones(4, 3), temperature=0.1)
    loss.backward()
    assert loss.item() == pytest.approx(2 * math.log(4), abs=1e-5)
    assert torch.isfinite(a.grad).all()
