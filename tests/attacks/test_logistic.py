"""The two logistic attacks on groups whose difference is known."""

import pytest
import torch
from scipy.stats import norm

from coun import CounError
from coun.attacks import entropy_attack_members, loss_attack_accuracy


def draw(shift, count, seed):
    return torch.randn(count, generator=torch.Generator().manual_seed(seed)).double() + shift


def test_losses_of_equal_distribution_cannot_be_told_apart():
    # Within 2.5 of 50, which is four standard errors of the held-out answers.
    assert loss_attack_accuracy(draw(0, 2000, 0), draw(0, 2000, 1)) == pytest.approx(50, abs=2.5)


def test_the_accuracy_is_that_of_the_best_line_between_two_gaussians():
    # Equal groups at distance d: Phi(d / 2).
    computed = loss_attack_accuracy(draw(0, 4000, 0), draw(2, 6000, 1), splits=5)
    assert computed == pytest.approx(100 * norm.cdf(1), abs=2.5)
    assert computed == loss_attack_accuracy(draw(0, 4000, 0), draw(2, 6000, 1), splits=5)


def test_the_entropy_attack_counts_members():
    retain, test = draw(0, 900, 0), draw(6, 100, 1)  # weights balance the sizes
    assert entropy_attack_members(retain, test, torch.tensor([-1.0, 0.0, 1.0, 7.0])) == 75
    between = torch.tensor([2.8, 3.2]).double()
    assert entropy_attack_members(retain, test, between) == 50


def test_bad_groups_are_refused():
    with pytest.raises(CounError, match="smaller group has 5 rows"):
        loss_attack_accuracy(draw(0, 5, 0), draw(0, 50, 0))
    with pytest.raises(CounError, match="empty group"):
        entropy_attack_members(draw(0, 5, 0), draw(0, 0, 0), draw(0, 5, 0))
    with pytest.raises(CounError, match="not finite"):
        entropy_attack_members(draw(0, 5, 0), draw(0, 5, 0) / 0, draw(0, 5, 0))
