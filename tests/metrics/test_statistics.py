"""Statistics against SciPy, closed forms and numbers worked out by hand."""

from dataclasses import asdict

import numpy as np
import pytest
from scipy import stats

from coun import CounError
from coun.files import to_json
from coun.metrics import (
    clopper_pearson,
    equivalence,
    holm,
    mean_interval,
    paired,
    rank_shares,
    welch,
)

A, B = [0.25, 0.31, 0.28, 0.22, 0.30], [0.38, 0.30, 0.41, 0.35, 0.37]


def test_worked_examples():
    mean = mean_interval(A)
    assert mean.mean == pytest.approx(0.272)
    assert mean.half_width == pytest.approx(0.0459583441, abs=1e-10)
    apart = welch(A, B)
    assert (apart.t, apart.df) == pytest.approx((-3.64998, 7.92284), abs=1e-5)
    assert apart.p == pytest.approx(0.0066033, abs=1e-7)
    by_seed = paired(A, B)
    assert (by_seed.t, by_seed.p) == pytest.approx((-3.26464, 0.0309450), abs=1e-5)
    assert (by_seed.difference, apart.difference) == pytest.approx((-0.09, -0.09))


def test_intervals_and_tests_are_scipys():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, 9), rng.normal(0.5, 3, 6)
    low, high = stats.t.interval(0.9, 8, a.mean(), stats.sem(a))
    assert (mean_interval(a, 0.9).low, mean_interval(a, 0.9).high) == pytest.approx((low, high))
    for result, reference in (
        (welch(a, b), stats.ttest_ind(a, b, equal_var=False)),
        (paired(a[:6], b), stats.ttest_rel(a[:6], b)),
    ):
        assert (result.t, result.df, result.p) == pytest.approx(
            (reference.statistic, reference.df, reference.pvalue)
        )


def test_an_interval_that_is_cut_at_its_limits_contains_the_mean_as_often_as_before():
    rng = np.random.default_rng(0)
    draws = np.abs(rng.normal(0.5, 1, (2000, 4, 5))).mean(1)  # gaps: means of absolute differences
    truth = stats.foldnorm(0.5).mean()
    whole = [mean_interval(draw) for draw in draws]
    cut = [mean_interval(draw, limits=(0, 100)) for draw in draws]
    assert min(x.low for x in whole) < 0 <= min(x.low for x in cut)
    covered = [x.low <= truth <= x.high for x in cut]
    assert covered == [x.low <= truth <= x.high for x in whole]
    assert 0.93 < np.mean(covered) < 0.97


def test_a_single_value_has_only_a_mean_and_gives_no_warning(recwarn):
    single = mean_interval([3.0])
    assert (single.mean, single.n) == (3, 1)
    assert np.isnan([single.std, single.half_width, single.low, single.high]).all()
    assert np.isnan([welch([1.0], [2.0, 3]).p, paired([1.0], [2.0]).p]).all()
    alone = equivalence([1.0], [1.0], margin=1)
    assert np.isnan(alone.p)
    assert not alone.equivalent
    assert '"p": null' in to_json(asdict(alone))
    assert not recwarn.list


def test_samples_without_spread_give_the_limit(recwarn):
    assert welch([1, 1, 1], [2, 2]).p == paired([1, 1], [2, 2]).p == 0
    assert welch([1, 1, 1], [2, 2]).t == -np.inf
    assert np.isnan(paired([1, 2], [1, 2]).p)
    assert equivalence([1, 2], [1, 2], margin=0.1).equivalent
    assert not equivalence([1, 2], [2, 3], margin=0.1).equivalent
    assert not recwarn.list


@pytest.mark.parametrize("by_seed", [True, False])
def test_equivalence_is_two_one_sided_tests_and_an_interval(by_seed):
    rng = np.random.default_rng(1)
    for margin in (0.2, 0.7, 1.5):
        a, b = rng.normal(0, 1, 12), rng.normal(0.1, 1, 12)
        test = stats.ttest_rel if by_seed else stats.ttest_ind
        extra = {} if by_seed else {"equal_var": False}
        p = max(
            test(a + margin, b, alternative="greater", **extra).pvalue,
            test(a - margin, b, alternative="less", **extra).pvalue,
        )
        interval = test(a, b, **extra).confidence_interval(0.9)
        computed = equivalence(a, b, margin=margin, by_seed=by_seed)
        assert computed.p == pytest.approx(p)
        assert (computed.low, computed.high) == pytest.approx(tuple(interval))
        assert computed.equivalent == (-margin < computed.low and computed.high < margin)


@pytest.mark.parametrize(
    ("by_seed", "expected"),
    [
        (True, (-0.14877096, -0.03122904, 0.94161323)),
        (False, (-0.13591005, -0.04408995, 0.97171690)),
    ],
)
def test_equivalence_has_the_values_of_version_0_1(by_seed, expected):
    # Computed by the formulas that SciPy's tests replaced.
    computed = equivalence(A, B, margin=0.035, by_seed=by_seed)
    assert (computed.low, computed.high, computed.p) == pytest.approx(expected, abs=1e-8)


def test_equivalence_needs_a_margin():
    with pytest.raises(CounError, match="margin > 0"):
        equivalence(A, B, margin=0)
    with pytest.raises(CounError, match="expected one shape"):
        equivalence(A, B[:4], margin=1)
    assert equivalence(A, B[:4], margin=1, by_seed=False).equivalent


def test_holm_by_hand():
    computed = holm({"FT": 0.04, "NoT": 0.01, "l1": 0.03, "SalUn": 0.005})
    assert list(computed) == ["FT", "NoT", "l1", "SalUn"]
    assert list(computed.values()) == pytest.approx([0.06, 0.03, 0.06, 0.02])
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1, "b": 1}
    assert holm({"a": 0.3}) == {"a": 0.3}
    with pytest.raises(CounError, match="p of a is 1.5"):
        holm({"a": 1.5})


def test_holm_does_not_count_a_test_that_could_not_be_made():
    computed = holm({"a": 0.01, "none": float("nan"), "b": 0.04})
    assert list(computed) == ["a", "none", "b"]
    assert np.isnan(computed.pop("none"))
    assert computed == holm({"a": 0.01, "b": 0.04})


def test_holm_is_never_below_the_raw_nor_above_bonferroni():
    p = dict(enumerate(np.random.default_rng(3).uniform(0, 0.2, 8)))
    computed = holm(p)
    assert all(p[k] <= computed[k] <= min(1, 8 * p[k]) for k in p)
    order = sorted(p, key=p.get)
    assert sorted(computed.values()) == [computed[k] for k in order]


def test_ranks_that_every_seed_repeats_are_stable_and_equal_scores_are_not():
    scores = {"FT": [3.0, 3.1, 2.9], "CoUn": [1.0, 1.1, 0.9], "NoT": [2.0, 2.1, 1.9]}
    computed = rank_shares(scores, generator=np.random.default_rng(0), resamples=500)
    assert computed == {"FT": [0, 0, 1], "CoUn": [1, 0, 0], "NoT": [0, 1, 0]}
    even = rank_shares({"a": [1.0], "b": [1.0]}, generator=np.random.default_rng(0))
    assert even == {"a": [1, 0], "b": [1, 0]}


def test_rank_shares_of_two_seeds_in_closed_form():
    # b wins on the second seed by more: it is first unless both draws are seed 1 (1/4).
    scores = {"a": [0.0, 3.0], "b": [1.0, 0.0]}

    def ask(seed):
        return rank_shares(scores, generator=np.random.default_rng(seed), resamples=20_000)

    computed = ask(0)
    assert computed == ask(0)
    assert computed["b"] == pytest.approx([0.75, 0.25], abs=0.02)
    assert computed["a"] == computed["b"][::-1]  # without ties
    with pytest.raises(CounError, match=r"numbers of seeds \[2, 1\]"):
        rank_shares({"a": [1.0, 2.0], "b": [1.0]}, generator=np.random.default_rng(0))


@pytest.mark.parametrize(("k", "n"), [(0, 20), (3, 20), (20, 20)])
def test_clopper_pearson_leaves_half_of_alpha_on_either_side(k, n):
    computed = clopper_pearson(k, n)
    assert computed.share == k / n
    low = stats.binom.sf(k - 1, n, computed.low) if k else computed.low + 0.025
    high = stats.binom.cdf(k, n, computed.high) if k < n else computed.high - 0.975
    assert (low, high) == pytest.approx((0.025, 0.025))


def test_impossible_counts_and_levels_are_refused():
    with pytest.raises(CounError, match="4 successes in 3 trials"):
        clopper_pearson(4, 3)
    with pytest.raises(CounError, match="level 95"):
        mean_interval(A, 95)
