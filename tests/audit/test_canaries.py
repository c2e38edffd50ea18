"""Canaries: bounds on epsilon agree with theory where it is known, and hold by chance alone."""

import numpy as np
import pytest
import torch
from scipy.stats import binomtest, norm

import coun
from coun.audit import audit
from coun.audit.canaries import audit_canaries, epsilon_bound
from coun.cli.forget_options import summary
from coun.data import Canaries
from coun.errors import CounError


def test_without_delta_the_bound_is_clopper_pearson():
    for correct, guesses in ((60, 80), (99, 100), (50, 100)):
        interval = binomtest(correct, guesses, alternative="greater").proportion_ci(0.95, "exact")
        expected = max(0.0, np.log(interval.low / (1 - interval.low)))
        assert epsilon_bound(100, guesses, correct) == pytest.approx(expected, abs=1e-6)


def test_randomised_response_is_bounded_by_its_epsilon():
    """Scores that tell the truth with probability e^eps / (1 + e^eps): theory is exact."""
    rng = np.random.default_rng(0)
    truth, bounds = 2.0, []
    for _ in range(100):
        member = rng.random(1000) < 0.5
        honest = rng.random(1000) < 1 / (1 + np.exp(-truth))
        scores = np.where(honest, member, ~member) + 0.01 * rng.random(1000)
        bounds.append(audit_canaries(scores, member).epsilon)
    assert np.mean(np.array(bounds) <= truth) >= 0.95
    assert np.median(bounds) > 0.75 * truth


@pytest.mark.parametrize("shift", [0.5, 1.0, 2.0])
def test_a_gaussian_is_bounded_by_its_epsilon(shift):
    """Members' scores are shifted by *shift* standard deviations: the Gaussian mechanism."""
    rng = np.random.default_rng(1)
    delta = 1e-5
    grid = np.linspace(0.01, 30, 3000)
    above = norm.cdf(shift / 2 - grid / shift) - np.exp(grid) * norm.cdf(-shift / 2 - grid / shift)
    truth = grid[np.argmax(above <= delta)]
    bounds = []
    for _ in range(40):
        member = rng.random(4000) < 0.5
        bounds.append(audit_canaries(rng.normal(shift * member, 1), member, delta=delta).epsilon)
    assert np.mean(np.array(bounds) <= truth) >= 0.95
    assert np.median(bounds) > 0.25 * truth


def test_a_model_that_never_saw_them_is_accused_at_most_as_often_as_stated():
    rng = np.random.default_rng(2)
    results = [audit_canaries(rng.normal(size=100), rng.random(100) < 0.5) for _ in range(400)]
    assert np.mean([r.p < 0.05 for r in results]) < 0.08
    assert np.mean([r.epsilon > 0 for r in results]) <= 0.05


@pytest.mark.parametrize("mark", ["mislabelled", "augmented"])
def test_marks_change_the_label_or_the_image(mark):
    digits = coun.load("digits")
    canaries = Canaries.make(digits.train, 10, 60, seed=3, mark=mark)
    before = digits.train.take(
        torch.isin(digits.train.numbers, canaries.examples.numbers).nonzero()[:, 0]
    )
    changed = canaries.examples.labels != before.labels
    assert changed.all() if mark == "mislabelled" else not changed.any()
    same = canaries.examples.images == before.fetch(torch.arange(60))
    assert same.all() if mark == "mislabelled" else not same.all()
    fewer = digits.train.take(torch.arange(len(digits.train))[5:])
    again = Canaries.make(fewer, 10, 60, seed=3, mark=mark)
    shared = torch.isin(canaries.examples.numbers, again.examples.numbers)
    assert shared.sum() >= 55, "the choice depends on the row, not on how many rows there are"


def test_planted_canaries_are_forgotten_with_every_request_and_audited(tmp_path):
    """From loading to the audit: the Original is caught, a Retrain is not."""
    data = coun.load("digits", limit=400, canaries=60)
    members = data.canaries.member_numbers
    assert len(data.train) == 400 - 60 + len(members)
    split = coun.Split.random(data, 0.1)
    assert torch.isin(members, split.forget).all()
    assert split.content_kind == "random"
    coun.train(data, "mlp", epochs=60, out=tmp_path / "original")
    retrain = coun.train(data, "mlp", split=split, epochs=20)
    again = coun.Run.open(tmp_path / "original")
    assert torch.equal(again.data.canaries.member_numbers, members)
    guilty, innocent = (
        audit(run, split=split, rest=False, relearn=False) for run in (again, retrain)
    )
    for result, computed in ((guilty, True), (innocent, False)):
        test = next(e for e in result.verdict.evidence if e.name == "canaries")
        assert test.found == computed, test
    assert guilty.verdict.label == "under-forgotten"
    assert "than a model does that never saw them" in guilty.verdict.headline
    assert f"{len(members)} canary rows, which every request names" in "\n".join(
        summary(data, split)
    )
    assert "epsilon is at least" in str(guilty.to_json())


def test_bad_input_is_one_line():
    digits = coun.load("digits")
    for call, words in (
        (lambda: Canaries.make(digits.train, 10, 4), "expected 8 or more"),
        (lambda: audit_canaries(np.zeros(4), np.ones(4)), "some canaries on both sides"),
        (lambda: audit_canaries(np.zeros(4), np.array([1, 0, 1, 0]), delta=1), "0 <= delta < 1"),
        (lambda: epsilon_bound(10, 20, 5), "guesses <= canaries"),
    ):
        with pytest.raises(CounError, match=words):
            call()
