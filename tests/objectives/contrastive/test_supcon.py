import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from objectives.contrastive import twins
from objectives.contrastive.cases import (
    LABELS,
    ZZ,
    Z,
    assert_twins,
    derivatives,
    few,
    normal,
    pairs,
    taus,
)
from pytorch_metric_learning.losses import SupConLoss
from pytorch_metric_learning.reducers import MeanReducer

from coun.objectives import nt_xent_loss, supcon_loss


@pytest.mark.parametrize(
    ("tau", "base", "value"),
    [
        (1, None, 1.8359573658),
        (0.1, None, 2.0517623993),
        (0.07, None, 2.5018803634),
        (0.1, 0.07, 2.9310891418),
    ],
)
def test_reference_values(tau, base, value):
    loss = supcon_loss(Z, ZZ, LABELS, temperature=tau, base_temperature=base)
    assert loss.item() == pytest.approx(value, abs=1e-10)


def some_labels(count, seed):
    return torch.randint(0, 3, (count,), generator=torch.Generator().manual_seed(seed))


@few
@given(pairs(), taus, st.integers(0, 1000), st.sampled_from([None, 0.07]))
def test_the_loss_equals_its_definition(ab, tau, seed, base):
    labels = some_labels(len(ab[0]), seed)
    options = {"temperature": tau, "base_temperature": base}
    assert_twins(supcon_loss, twins.supcon, *ab, labels, **options)


@few
@given(pairs(least=2), taus, st.integers(0, 1000))
def test_the_loss_equals_another_library(ab, tau, seed):
    labels = some_labels(len(ab[0]), seed)
    labels[:2] = torch.tensor([0, 1])  # the library gives 0 where there is one class only
    other = SupConLoss(tau, reducer=MeanReducer())(torch.cat(ab), labels.repeat(2))
    computed = supcon_loss(*ab, labels, temperature=tau)
    torch.testing.assert_close(computed, other, rtol=1e-8, atol=1e-8)


@few
@given(pairs(), taus)
def test_is_nt_xent_where_all_labels_differ(ab, tau):
    labels = torch.arange(len(ab[0]))
    value, gradients = derivatives(lambda a, b: supcon_loss(a, b, labels, temperature=tau), *ab)
    wanted, expected = derivatives(lambda a, b: nt_xent_loss(a, b, temperature=tau), *ab)
    torch.testing.assert_close(value, wanted, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(gradients, expected, rtol=1e-8, atol=1e-8)


def test_order_rotation_and_names_of_classes_do_not_matter():
    a, b, labels = *normal(2, 12, 4), some_labels(12, 3)
    value = supcon_loss(a, b, labels, temperature=0.1).item()
    order, turn = (
        torch.randperm(12, generator=torch.Generator().manual_seed(2)),
        torch.linalg.qr(normal(4, 4, seed=1)).Q,
    )
    changed = [
        supcon_loss(a[order], b[order], labels[order], temperature=0.1),
        supcon_loss(a @ turn, b @ turn, labels, temperature=0.1),
        supcon_loss(a, b, 7.5 - labels, temperature=0.1),
    ]
    assert [x.item() for x in changed] == pytest.approx([value] * 3, abs=1e-12)
