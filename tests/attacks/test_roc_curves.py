"""ROC results against sklearn, counting by hand, and the binomial distribution."""

import json

import numpy as np
import pytest
import torch
from scipy.stats import binom
from sklearn.metrics import roc_auc_score

from coun import CounError
from coun.attacks import curve, roc


@pytest.mark.parametrize("digits", [1, 15])  # with many ties, and without
def test_against_sklearn_and_a_loop(digits):
    rng = np.random.default_rng(1)
    m, o = rng.normal(0.7, 1, 300).round(digits), rng.normal(0, 1, 500).round(digits)
    computed = roc(torch.from_numpy(m), torch.from_numpy(o))
    y = [1] * 300 + [0] * 500
    assert computed.auc == pytest.approx(roc_auc_score(y, np.concatenate([m, o])))
    best, power = 0.5, {0.01: 0.0, 0.001: 0.0}
    for t in np.concatenate([m, o]):
        tpr, fpr = (m >= t).mean(), (o >= t).mean()
        best = max(best, (tpr + 1 - fpr) / 2)
        for level in power:
            if fpr <= level:
                power[level] = max(power[level], tpr)
    assert computed.balanced_accuracy == pytest.approx(best)
    assert (computed.tpr_at_1.share, computed.tpr_at_01.share) == pytest.approx(
        (power[0.01], power[0.001])
    )


def test_the_interval_is_exact():
    # At its ends, so many hits or more (or fewer) have a probability of 2.5%.
    computed = roc(torch.arange(100.0), torch.arange(-5.0, 95.0) - 1)
    hits = round(100 * computed.tpr_at_1.share)
    low, high = computed.tpr_at_1.low, computed.tpr_at_1.high
    assert 0 < hits < 100
    assert binom.sf(hits - 1, 100, low) == pytest.approx(0.025)
    assert binom.cdf(hits, 100, high) == pytest.approx(0.025)


def test_extremes_and_json():
    apart = roc(torch.ones(5), torch.zeros(8))
    assert (apart.auc, apart.balanced_accuracy, apart.tpr_at_1.share) == (1, 1, 1)
    assert apart.tpr_at_01.share == 1
    alike = roc(torch.ones(5), torch.ones(8))
    assert (alike.auc, alike.balanced_accuracy, alike.tpr_at_1.share) == (0.5, 0.5, 0)
    written = json.loads(json.dumps(alike.to_json()))
    assert (written["others"], written["tpr_at_1"]["n"]) == (8, 5)


def test_no_sample_passes_the_first_threshold_even_with_an_infinite_score():
    points = curve(torch.tensor([float("inf"), 1.0]), torch.tensor([0.0]))
    assert points.members.tolist() == [0, 1, 2, 2]
    assert points.others.tolist() == [0, 0, 0, 1]


def test_bad_scores_are_refused():
    with pytest.raises(CounError, match="no non-member rows"):
        roc(torch.ones(2), torch.ones(0))
    with pytest.raises(CounError, match="is not a number"):
        roc(torch.tensor([1.0, float("nan")]), torch.ones(2))
