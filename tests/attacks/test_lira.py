"""LiRA against a worked example, loops over SciPy, and the best possible power."""

import numpy as np
import pytest
import torch
from attacks.toys import gaussian
from scipy.stats import norm

from coun import CounError
from coun.attacks import lira_offline, lira_online, roc


def logit(*p):
    return torch.logit(torch.tensor(p, dtype=torch.float64))


def test_a_worked_example():
    inside, outside = (0.99, 0.98, 0.995, 0.97), (0.8, 0.9, 0.6, 0.7)
    shadow = logit(*inside, *outside)[:, None]
    member = torch.tensor([True] * 4 + [False] * 4)[:, None]
    target = logit(0.95)
    assert float(target) == pytest.approx(2.9444390)
    ratio = lira_online(target, shadow, member, centre="mean")
    assert float(ratio) == pytest.approx(1.3832329, abs=1e-6)
    assert float(ratio.sigmoid()) == pytest.approx(0.7995097, abs=1e-6)


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("centre", ["median", "mean"])
def test_every_score_is_that_of_a_loop(fixed, centre):
    gen = torch.Generator().manual_seed(0)
    shadow = torch.randn((9, 6, 2), generator=gen).double()
    member = torch.rand((9, 6), generator=gen).argsort(0) < 4  # 4 in, 5 out
    target = torch.randn((6, 2), generator=gen).double()
    middle = np.median if centre == "median" else np.mean

    def side(n, a, saw):
        return [float(shadow[m, n, a]) for m in range(9) if bool(member[m, n]) == saw]

    def spread(n, a, saw):
        if not fixed:
            return np.std(side(n, a, saw))
        groups = [side(i, a, saw) for i in range(6)]
        squares = sum((x - middle(g)) ** 2 for g in groups for x in g)
        return np.sqrt(squares / (sum(map(len, groups)) - 6))

    online, one, two = np.zeros((3, 6))
    for n in range(6):
        for a in range(2):
            x = float(target[n, a])
            into, out = (norm(middle(side(n, a, s)), spread(n, a, s)) for s in (True, False))
            online[n] += (into.logpdf(x) - out.logpdf(x)) / 2
            one[n] -= np.log(out.sf(x)) / 2
            two[n] -= out.logpdf(x) / 2
    given = {"fixed_variance": fixed, "centre": centre}
    assert lira_online(target, shadow, member, **given).tolist() == pytest.approx(online.tolist())
    assert lira_offline(target, shadow, member, **given).tolist() == pytest.approx(one.tolist())
    computed = lira_offline(target, shadow, member, **given, variant="two_sided")
    assert computed.tolist() == pytest.approx(two.tolist())


def test_only_the_two_sided_variant_takes_a_very_low_phi_for_a_member():
    shadow = torch.tensor([-1.0, 0.0, 1.0]).double()[:, None].expand(3, 3)
    member = torch.zeros((3, 3), dtype=torch.bool)
    low, mid, high = lira_offline(torch.tensor([-9.0, 0, 9]), shadow, member)
    assert low < mid < high
    low, mid, high = lira_offline(torch.tensor([-9.0, 0, 9]), shadow, member, variant="two_sided")
    assert low > mid < high


def test_models_without_spread_give_finite_scores():
    shadow = torch.ones((4, 2)).double()
    member = torch.tensor([[True], [True], [False], [False]]).expand(4, 2)
    scores = lira_online(torch.tensor([1.0, 2.0]).double(), shadow, member)
    assert scores.tolist() == [0, 0]


@pytest.mark.parametrize("shift", [0.0, 1.0, 2.5])
def test_the_power_is_the_best_possible(shift):
    # Two normal distributions at distance d: the area is Phi(d / sqrt 2), and the TPR is
    # Phi(d - z) at an FPR of 1 - Phi(z).
    target, shadow, member, truth = gaussian(shift, count=64, rows=6000)
    for attack in (lira_online, lira_offline):
        scores = attack(target, shadow, member, fixed_variance=True, centre="mean")
        computed = roc(scores[truth], scores[~truth])
        assert computed.auc == pytest.approx(norm.cdf(shift / 2**0.5), abs=0.02)
        best = norm.cdf(shift - norm.ppf(0.99))
        assert computed.tpr_at_1.share == pytest.approx(best, abs=0.015 + 0.2 * best)


def test_too_few_models_are_refused():
    shadow, member = torch.zeros((3, 2)).double(), torch.tensor([[1, 1], [1, 1], [0, 0]]).bool()
    with pytest.raises(CounError, match="row 0 has 1 models on one side"):
        lira_online(torch.zeros(2), shadow, member)
    with pytest.raises(CounError, match="expected \\(N, ...\\)"):
        lira_online(torch.zeros(3), shadow, member)
