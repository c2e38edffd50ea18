import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from objectives.contrastive import twins
from objectives.contrastive.cases import (
    ZZ,
    Z,
    assert_twins,
    chances,
    derivatives,
    few,
    normal,
    pairs,
    queue_for,
    taus,
)
from pytorch_metric_learning.losses import NTXentLoss, SelfSupervisedLoss

from coun.objectives import debiased_loss, info_nce_loss, moco_loss, nt_xent_loss


@pytest.mark.parametrize(
    ("tau", "value"), [(1, 1.6838414150), (0.5, 1.4597997632), (0.1, 0.5306028908)]
)
def test_nt_xent_reference_values(tau, value):
    assert nt_xent_loss(Z, ZZ, temperature=tau).item() == pytest.approx(value, abs=1e-10)


def test_nt_xent_of_orthogonal_pairs():
    eye = torch.eye(2, dtype=torch.float64)
    value = nt_xent_loss(eye, eye, temperature=1).item()
    assert value == pytest.approx(math.log(1 + 2 / math.e), abs=1e-12)
    assert value == pytest.approx(0.5514447139, abs=1e-10)


@pytest.mark.parametrize("n", [2, 4, 257])
def test_nt_xent_of_collapsed_embeddings(n):
    same = torch.ones(n, 3, dtype=torch.float64)
    value = nt_xent_loss(same, same, temperature=0.1).item()
    assert value == pytest.approx(math.log(2 * n - 1), abs=1e-9)


@few
@given(pairs(), taus)
def test_nt_xent_equals_its_definition(ab, tau):
    assert_twins(nt_xent_loss, twins.nt_xent, *ab, temperature=tau)


@few
@given(pairs(least=2), taus)
def test_nt_xent_equals_another_library(ab, tau):
    other = SelfSupervisedLoss(NTXentLoss(tau))(*ab)
    torch.testing.assert_close(nt_xent_loss(*ab, temperature=tau), other, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(("prior", "value"), [(0.1, 1.3861614848), (0, 1.4597997632)])
def test_debiased_reference_values(prior, value):
    loss = debiased_loss(Z, ZZ, temperature=0.5, prior=prior)
    assert loss.item() == pytest.approx(value, abs=1e-10)


@few
@given(pairs(), taus, chances)
def test_debiased_equals_its_definition(ab, tau, prior):
    assert_twins(debiased_loss, twins.debiased, *ab, temperature=tau, prior=prior)


@few
@given(pairs(), taus)
def test_debiased_without_a_prior_is_nt_xent(ab, tau):
    value, gradients = derivatives(lambda a, b: debiased_loss(a, b, temperature=tau, prior=0), *ab)
    wanted, expected = derivatives(lambda a, b: nt_xent_loss(a, b, temperature=tau), *ab)
    torch.testing.assert_close(value, wanted, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(gradients, expected, rtol=1e-8, atol=1e-8)


def test_debiased_negatives_never_fall_below_the_least_a_sum_can_be():
    # Orthogonal pairs, identical views: the correction outweighs the negatives.
    eye = torch.eye(3, dtype=torch.float64)
    value = debiased_loss(eye, eye, temperature=0.5, prior=0.5).item()
    least = 4 * math.exp(-2)
    assert value == pytest.approx(math.log(1 + least / math.exp(2)), abs=1e-12)


def test_moco_reference_value():
    queue = torch.eye(3, dtype=torch.float64)[[0, 2]]
    assert moco_loss(Z, ZZ, queue, temperature=0.07).item() == pytest.approx(
        0.1055407845, abs=1e-10
    )


@few
@given(pairs(), taus, st.integers(0, 7))
def test_moco_equals_its_definition(ab, tau, length):
    queue = queue_for(ab[0], length)
    assert_twins(moco_loss, twins.moco, *ab, queue, temperature=tau)


@few
@given(pairs(), taus)
def test_moco_with_the_other_keys_as_queue_is_half_of_info_nce(ab, tau):
    a, b = ab
    rows = [
        moco_loss(a[i : i + 1], b[i : i + 1], torch.cat([b[:i], b[i + 1 :]]), temperature=tau)
        for i in range(len(a))
    ]
    back = [
        moco_loss(b[i : i + 1], a[i : i + 1], torch.cat([a[:i], a[i + 1 :]]), temperature=tau)
        for i in range(len(a))
    ]
    both = torch.stack(rows).mean() + torch.stack(back).mean()
    torch.testing.assert_close(info_nce_loss(a, b, temperature=tau), both, rtol=1e-9, atol=1e-9)


def test_keys_and_queue_are_constants():
    a, b, queue = (x.clone().requires_grad_() for x in (Z, ZZ, normal(5, 3)))
    moco_loss(a, b, queue, temperature=0.1).backward()
    assert a.grad.any()
    assert b.grad is None
    assert queue.grad is None


def test_a_rotation_of_queries_keys_and_queue_does_not_matter():
    queue, turn = normal(5, 3), torch.linalg.qr(normal(3, 3, seed=1)).Q
    value = moco_loss(Z, ZZ, queue, temperature=0.1).item()
    turned = moco_loss(Z @ turn, ZZ @ turn, 7 * queue @ turn, temperature=0.1).item()
    assert turned == pytest.approx(value, abs=1e-12)
