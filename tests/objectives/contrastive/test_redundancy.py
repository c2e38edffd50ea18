import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from objectives.contrastive import twins
from objectives.contrastive.cases import ZZ, Z, assert_twins, few, normal, pairs
from pytorch_metric_learning.losses import VICRegLoss

from coun.objectives import barlow_twins_loss, vicreg_loss

weights = st.floats(0, 30)


def test_barlow_twins_reference_values():
    on, both = (barlow_twins_loss(Z, ZZ, off_diagonal=x).item() for x in (0, 1))
    assert on == pytest.approx(0.3173789855, abs=1e-10)
    assert both - on == pytest.approx(1.3610492617, abs=1e-10)
    total = barlow_twins_loss(Z, ZZ, off_diagonal=0.005).item()
    assert total == pytest.approx(0.3241842318, abs=1e-10)
    own = barlow_twins_loss(Z, Z, off_diagonal=0.005).item()
    assert own == pytest.approx(0.0091660815, abs=1e-10)


@few
@given(pairs(least=2), weights)
def test_barlow_twins_equals_its_definition(ab, off_diagonal):
    assert_twins(barlow_twins_loss, twins.barlow_twins, *ab, off_diagonal=off_diagonal)


def test_barlow_twins_equals_a_batch_norm_and_a_product():
    a, b = normal(2, 32, 6)
    norm = torch.nn.BatchNorm1d(6, affine=False, dtype=torch.float64)
    correlation = norm(a).T @ norm(b) / 32
    wanted = (correlation - torch.eye(6)).square()
    wanted = 0.9 * wanted.diagonal().sum() + 0.1 * wanted.sum()
    torch.testing.assert_close(barlow_twins_loss(a, b, off_diagonal=0.1), wanted)


def test_barlow_twins_ignores_shift_and_nearly_scale_of_each_dimension():
    a, b = normal(2, 32, 6)
    value = barlow_twins_loss(a, b, off_diagonal=0.1).item()
    scale = torch.tensor([1, 2, 3, 4, 5, 6])
    moved = barlow_twins_loss(3 + a * scale, b - scale, off_diagonal=0.1).item()
    assert moved == pytest.approx(value, rel=1e-4)  # 1e-5 is added to the variance


def parts(a, b):
    return [
        vicreg_loss(a, b, invariance=i, variance=v, covariance=c).item()
        for i, v, c in ((1, 0, 0), (0, 1, 0), (0, 0, 1), (25, 25, 1))
    ]


def test_vicreg_reference_values():
    expected = [1 / 3, 0.2889281261, 0.2222222222, 15.7787587076]
    assert parts(Z, ZZ) == pytest.approx(expected, abs=1e-10)


def test_vicreg_of_constant_features():
    same = torch.ones(8, 5, dtype=torch.float64)
    assert parts(same, same) == pytest.approx([0, 0.99, 0, 24.75], abs=1e-12)


def test_vicreg_of_wide_uncorrelated_features_is_their_distance_alone():
    # The columns of a Hadamard matrix are uncorrelated and have variance 4 / 3.
    a = torch.tensor([[1, 1, 1], [-1, 1, -1], [1, -1, -1], [-1, -1, 1]], dtype=torch.float64)
    assert parts(a, a + 2) == pytest.approx([4, 0, 0, 100], abs=1e-12)


@few
@given(pairs(least=2), weights, weights, weights)
def test_vicreg_equals_its_definition(ab, invariance, variance, covariance):
    options = {"invariance": invariance, "variance": variance, "covariance": covariance}
    assert_twins(vicreg_loss, twins.vicreg, *ab, **options)


@few
@given(pairs(least=2), weights, weights, weights)
def test_vicreg_equals_another_library(ab, invariance, variance, covariance):
    other = VICRegLoss(invariance, variance, covariance)(ab[0], ref_emb=ab[1])
    computed = vicreg_loss(*ab, invariance=invariance, variance=variance, covariance=covariance)
    torch.testing.assert_close(computed, other, rtol=1e-8, atol=1e-8)
