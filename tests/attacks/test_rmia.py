"""RMIA against a worked example, a naive loop, and the best possible power."""

import pytest
import torch
from attacks.toys import gaussian
from scipy.stats import norm

from coun import CounError
from coun.attacks import rmia_ratio, rmia_score, roc


def test_a_worked_example():
    def row(*p):
        return torch.tensor(p, dtype=torch.float64)

    no_member = torch.zeros((1, 3), dtype=torch.bool)
    x = rmia_ratio(row(0.9), row(0.5, 0.7)[:, None], torch.zeros((2, 1), dtype=torch.bool))
    z = rmia_ratio(row(0.8, 0.4, 0.95), row(0.7, 0.5, 0.9)[None], no_member)
    assert float(x) == pytest.approx(1.2162162)
    assert z.tolist() == pytest.approx([0.9937888, 0.5925926, 1.0160428])
    assert rmia_score(x, z).tolist() == [1]


def test_unequal_numbers_of_out_models_give_the_result_of_a_loop():
    gen = torch.Generator().manual_seed(0)
    shadow = torch.rand((7, 20), generator=gen).double()
    member = torch.rand((7, 20), generator=gen) < 0.5
    member[0] = False
    target, z = torch.rand(20, generator=gen).double(), torch.rand(30, generator=gen).double() * 2
    computed = rmia_ratio(target, shadow, member, a=0.6)
    for n in range(20):
        out = [float(shadow[m, n]) for m in range(7) if not member[m, n]]
        expected = float(target[n]) / (0.8 * sum(out) / len(out) + 0.2)
        assert float(computed[n]) == pytest.approx(expected)
    for gamma in (1.0, 1.5):
        scores = rmia_score(computed, z, gamma=gamma)
        share = [sum(float(x) / float(v) > gamma for v in z) / 30 for x in computed]
        assert scores.tolist() == pytest.approx(share)


def test_an_equal_ratio_is_not_larger():
    assert rmia_score(torch.tensor([1.0]), torch.tensor([1.0, 0.5])).tolist() == [0.5]


@pytest.mark.parametrize("shift", [0.0, 1.5])
def test_the_power_is_the_best_possible(shift):
    # With p = exp(phi), small spread in mu's estimate and a = 1, the ratio is phi - mu.
    target, shadow, member, truth = gaussian(shift, count=128, rows=6000)
    scale = 0.02  # small, so that the mean of exp is exp of the mean up to a constant
    ratio = rmia_ratio((scale * target).exp(), (scale * shadow).exp(), member, a=1.0)
    scores = rmia_score(ratio, ratio[~truth])
    computed = roc(scores[truth], scores[~truth])
    assert computed.auc == pytest.approx(norm.cdf(shift / 2**0.5), abs=0.02)
    best = norm.cdf(shift - norm.ppf(0.99))
    assert computed.tpr_at_1.share == pytest.approx(best, abs=0.015 + 0.2 * best)


def test_bad_arguments_are_refused():
    p, all_members = torch.ones((2, 3)).double(), torch.ones((2, 3), dtype=torch.bool)
    with pytest.raises(CounError, match="in every shadow model"):
        rmia_ratio(p[0], p, all_members)
    with pytest.raises(CounError, match="a is 2"):
        rmia_ratio(p[0], p, ~all_members, a=2)
    with pytest.raises(CounError, match="population is empty"):
        rmia_score(p[0], p[0, :0])


def test_the_reference_takes_the_largest_half_of_all_models():
    gen = torch.Generator().manual_seed(3)
    shadow = torch.rand((6, 40), generator=gen).double()
    member = torch.rand((6, 40), generator=gen).argsort(0) < 3  # each sample is in half of them
    nobody = torch.zeros((6, 40), dtype=torch.bool)
    target = torch.rand(40, generator=gen).double()
    samples = [rmia_ratio(target, shadow, member, variant=v) for v in ("correct", "reference")]
    torch.testing.assert_close(*samples)
    right, biased = (
        rmia_ratio(target, shadow, nobody, variant=v) for v in ("correct", "reference")
    )
    for n in range(40):
        largest = sorted(shadow[:, n].tolist())[3:]
        expected = float(target[n]) / (0.65 * sum(largest) / 3 + 0.35)
        assert float(biased[n]) == pytest.approx(expected)
    assert (biased <= right).all()
    two, one = shadow[:2], torch.tensor([[True], [False]]).expand(2, 40)
    estimated = ((two[0] + 0.3 - 1) / 0.3 + two[1]) / 2
    computed = rmia_ratio(target, two, one, variant="reference")
    torch.testing.assert_close(computed, target / (0.65 * estimated + 0.35))
