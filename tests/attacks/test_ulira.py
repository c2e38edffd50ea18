"""U-LiRA against a naive loop, and on worlds whose answer is known."""

import numpy as np
import pytest
import torch
from attacks.toys import gaussian
from scipy.stats import norm

from coun import CounError
from coun.attacks import ulira_accuracy, ulira_log_odds


def test_every_score_leaves_out_its_model_and_a_partner():
    gen = torch.Generator().manual_seed(0)
    phi = torch.randn((9, 4), generator=gen).double()
    saw = torch.rand((9, 4), generator=gen).argsort(0) < 4
    computed = ulira_log_odds(phi, saw)
    for n in range(4):
        sides = {s: [m for m in range(9) if bool(saw[m, n]) == s] for s in (True, False)}
        for m in range(9):
            place = sides[bool(saw[m, n])].index(m)
            logs = []
            for s in (True, False):
                rest = [float(phi[k, n]) for i, k in enumerate(sides[s]) if i != place]
                logs.append(norm.logpdf(float(phi[m, n]), np.mean(rest), np.std(rest)))
            assert float(computed[m, n]) == pytest.approx(logs[0] - logs[1])


@pytest.mark.parametrize("count", [6, 24])
def test_a_perfect_unlearner_gets_half_however_few_the_models(count):
    _, phi, saw, _ = gaussian(0.0, count=count, rows=4000)
    odds = ulira_log_odds(phi, saw)
    assert ulira_accuracy(odds, saw) == pytest.approx(50, abs=1.5)


def test_what_stays_behind_shows():
    # Two normal laws a distance d apart: Phi(d / 2).
    _, phi, saw, _ = gaussian(2.0, count=128, rows=200)
    computed = ulira_accuracy(ulira_log_odds(phi, saw), saw)
    assert computed == pytest.approx(100 * norm.cdf(1), abs=1.5)


def test_models_that_retain_the_sample_are_left_out():
    _, phi, saw, _ = gaussian(2.0, count=12, rows=5)
    used = torch.ones_like(saw)
    used[0] = False
    odds = ulira_log_odds(phi, saw, used)
    assert bool(odds[0].isnan().all())
    assert bool(odds[1:].isfinite().all())
    spoiled = phi.clone()
    spoiled[0] = 1e6
    assert torch.equal(ulira_log_odds(spoiled, saw, used)[1:], odds[1:])


def test_no_spread_is_no_nan_and_ties_count_half():
    phi = torch.ones((6, 3)).double()
    saw = torch.tensor([True, False] * 3)[:, None].expand(6, 3)
    assert ulira_accuracy(ulira_log_odds(phi, saw), saw) == 50


def test_two_models_on_a_side_are_too_few():
    _, phi, saw, _ = gaussian(2.0, count=4, rows=5)
    with pytest.raises(CounError, match="2 models on one side"):
        ulira_log_odds(phi, saw)
