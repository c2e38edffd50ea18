"""The loss of Contrastive Unlearning equals computed values and a double loop."""

from __future__ import annotations

import math

import pytest
import torch

from coun.objectives.contrastive.repulsion import contrastive_unlearning_loss

U = torch.tensor([[1, 2, 0], [0, 1, 1]], dtype=torch.float64)
R = torch.tensor([[1, 1, 0], [0, 2, 1], [1, 0, 1], [1, 1, 2]], dtype=torch.float64)
OWN, OTHER = torch.tensor([0, 1]), torch.tensor([0, 0, 1, 1])


def naive(u, r, own, other, tau, *, slip=False):
    total = 0.0
    for i in range(len(u)):
        dots = [(torch.cosine_similarity(u[i], r[j], dim=0) / tau).item() for j in range(len(r))]
        if slip:
            dots = [d - max(dots) for d in dots]
        near = [d for d, c in zip(dots, other, strict=True) if c == own[i]]
        far = [d for d, c in zip(dots, other, strict=True) if c != own[i]]
        if near:
            weight = len(r) / len(far) if slip else 1
            total += weight * math.log(sum(map(math.exp, near)))
        if far:
            total -= sum(far) / len(far)
    return total / len(u)


@pytest.mark.parametrize(
    ("weighting", "value"), [("correct", 0.9993144097), ("reference", 1.4693075441)]
)
def test_values_computed_by_an_independent_implementation(weighting, value):
    result = contrastive_unlearning_loss(U, R, OWN, OTHER, temperature=0.7, weighting=weighting)
    assert result.item() == pytest.approx(value, abs=1e-10)


@pytest.mark.parametrize("weighting", ["correct", "reference"])
def test_the_loss_equals_a_double_loop(weighting):
    g = torch.Generator().manual_seed(1)
    u, r = (torch.randn(n, 5, dtype=torch.float64, generator=g) for n in (7, 9))
    # Class 4 has no retain row, and every class some row of another.
    own, other = torch.tensor([0, 1, 2, 4, 0, 1, 4]), torch.tensor([0, 0, 1, 1, 2, 2, 0, 1, 2])
    result = contrastive_unlearning_loss(u, r, own, other, temperature=0.3, weighting=weighting)
    assert result.item() == pytest.approx(
        naive(u, r, own, other, 0.3, slip=weighting == "reference")
    )


@pytest.mark.parametrize("weighting", ["correct", "reference"])
@pytest.mark.parametrize("label", [0, 1], ids=["nobody else", "nobody alike"])
def test_a_batch_without_positives_or_negatives_has_a_finite_gradient(label, weighting):
    u = U.clone().requires_grad_()
    own, other = torch.zeros(2, dtype=torch.int64), torch.full((4,), label)
    loss = contrastive_unlearning_loss(u, R, own, other, temperature=0.7, weighting=weighting)
    loss.backward()
    assert math.isfinite(loss.item())
    assert bool(torch.isfinite(u.grad).all())
    assert u.grad.abs().sum() > 0


def test_a_step_leads_to_the_other_class():
    # On the circle, own class at 0 degrees, the other at 90: the anchor at 30 turns to the other.
    angle = torch.tensor(math.pi / 6, dtype=torch.float64, requires_grad=True)
    u = torch.stack([angle.cos(), angle.sin()])[None]
    r = torch.eye(2, dtype=torch.float64)
    labels = torch.tensor([0]), torch.tensor([0, 1])
    contrastive_unlearning_loss(u, r, *labels, temperature=0.7).backward()
    assert angle.grad < 0
