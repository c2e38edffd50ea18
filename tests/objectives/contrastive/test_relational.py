import pytest
import torch
from hypothesis import given
from objectives.contrastive import twins
from objectives.contrastive.cases import ZZ, Z, assert_twins, chances, few, normal, pairs, taus
from pytorch_metric_learning.losses import NTXentLoss, SelfSupervisedLoss
from torch.nn import functional as F

from coun.objectives import co2_loss, sce_loss


@pytest.mark.parametrize(("positive", "value"), [(0.5, 1.2111310372), (1, 0.3258600442)])
def test_sce_reference_values(positive, value):
    loss = sce_loss(Z, ZZ, temperature=0.1, target_temperature=0.05, positive=positive)
    assert loss.item() == pytest.approx(value, abs=1e-10)


@few
@given(pairs(least=2), taus, taus, chances)
def test_sce_equals_its_definition(ab, tau, target, positive):
    options = {"temperature": tau, "target_temperature": target, "positive": positive}
    assert_twins(sce_loss, twins.sce, *ab, **options)


@few
@given(pairs(least=2), taus)
def test_sce_with_the_positive_alone_is_one_direction_of_info_nce(ab, tau):
    loss = sce_loss(*ab, temperature=tau, target_temperature=0.1, positive=1)
    other = SelfSupervisedLoss(NTXentLoss(tau), symmetric=False)(*ab)
    torch.testing.assert_close(loss, other, rtol=1e-8, atol=1e-8)


def test_sce_takes_its_target_as_a_constant():
    a, b = Z.clone().requires_grad_(), ZZ.clone().requires_grad_()
    sce_loss(a, b, temperature=0.1, target_temperature=0.05, positive=0.5).backward()
    assert a.grad.any()
    assert b.grad is None


@pytest.mark.parametrize(("tau", "value"), [(0.05, 0.2508466384), (0.5, 0.0628751444)])
def test_co2_reference_values(tau, value):
    assert co2_loss(Z, ZZ, temperature=tau).item() == pytest.approx(value, abs=1e-10)


@few
@given(pairs(), taus)
def test_co2_equals_its_definition(ab, tau):
    assert_twins(co2_loss, twins.co2, *ab, temperature=tau)


@few
@given(pairs(), taus)
def test_co2_equals_two_divergences_by_torch(ab, tau):
    s = F.normalize(ab[0], dim=1) @ F.normalize(ab[1], dim=1).T / tau
    p, q = s.log_softmax(1), s.T.log_softmax(1)
    both = F.kl_div(p, q, reduction="batchmean", log_target=True)
    both += F.kl_div(q, p, reduction="batchmean", log_target=True)
    torch.testing.assert_close(co2_loss(*ab, temperature=tau), both / 2, rtol=1e-8, atol=1e-9)


@few
@given(pairs(), taus)
def test_co2_of_identical_views_is_zero(ab, tau):
    assert co2_loss(ab[0], 3 * ab[0], temperature=tau).item() == pytest.approx(0, abs=1e-12)


def test_co2_trains_both_views():
    a, b = (x.clone().requires_grad_() for x in normal(2, 8, 4))
    co2_loss(a, b, temperature=0.05).backward()
    assert a.grad.norm() > 0
    assert b.grad.norm() > 0
