"""Thresholds against a naive double loop over rows and candidates."""

import pytest
import torch

from coun.attacks import (
    best_threshold,
    class_threshold_efficacy,
    class_thresholds,
)


def naive(members, others):
    """The best "value >= t" over all candidates t, the highest of equals."""
    best, computed = 0.0, float("inf")
    for t in sorted({*members, *others}, reverse=True):
        passed = sum(v >= t for v in members) * len(others)
        gain = passed - sum(v >= t for v in others) * len(members)
        if gain > best:
            best, computed = gain, t
    return computed


@pytest.mark.parametrize("seed", range(5))
def test_every_class_as_in_a_double_loop(seed):
    gen = torch.Generator().manual_seed(seed)
    m = (torch.randn(80, generator=gen) + 0.5).double().round(decimals=1)  # with ties
    o = torch.randn(60, generator=gen).double().round(decimals=1)
    my, oy = (torch.randint(4, (n,), generator=gen) for n in (80, 60))
    computed = class_thresholds(m, my, o, oy, 4)
    expected = [naive(m[my == c].tolist(), o[oy == c].tolist()) for c in range(4)]
    assert computed.tolist() == expected
    assert best_threshold(m, o) == naive(m.tolist(), o.tolist())


def test_a_class_without_samples_takes_the_common_threshold():
    m, o = torch.tensor([0.8, 0.9]), torch.tensor([0.1, 0.2])
    zeros = torch.zeros(2, dtype=torch.long)
    assert class_thresholds(m, zeros, o, zeros, 2).tolist() == pytest.approx([0.8, 0.8])


def test_efficacy_counts_values_below_the_threshold():
    m, o = torch.tensor([0.8, 0.9]), torch.tensor([0.1, 0.2])
    zeros = torch.zeros(4, dtype=torch.long)
    targets = torch.tensor([0.0, 0.7, 0.8, 1.0])
    assert class_threshold_efficacy((m, zeros[:2]), (o, zeros[:2]), (targets, zeros)) == 50
    # Members below all others: no threshold is better than chance, so all are non-members.
    high = torch.tensor([5.0])
    assert class_threshold_efficacy((o, zeros[:2]), (m, zeros[:2]), (high, zeros[:1])) == 100


def test_targets_are_compared_with_the_threshold_of_their_class():
    labels = torch.tensor([0, 1])
    members, others = torch.tensor([0.9, 0.5]), torch.tensor([0.7, 0.1])
    targets = torch.tensor([0.8, 0.8, 0.95, 0.3]), torch.tensor([0, 1, 0, 1])
    assert class_threshold_efficacy((members, labels), (others, labels), targets) == 50
