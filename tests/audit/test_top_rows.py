"""A few remembered rows are found, and chance finds none."""

from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.stats import hypergeom, kstest

from coun.audit import (
    Groups,
    RequestParts,
    Strata,
    Subject,
    judge,
    suspicious_rows,
    top_rows,
    top_test,
)
from coun.audit.top_rows import among_models, shared_with_neighbour
from coun.audit.wording import caveats
from coun.models import Outputs
from coun.runs import Predictions


def test_p_is_the_share_of_all_permutations():
    """Two classes with 2 of 4 and 1 of 3 rows forgotten: 18 equally likely divisions."""
    labels = np.array([0, 0, 1]), np.array([0, 0, 1, 1])
    scores = Groups(np.array([9.0, 7.0, 8.0]), np.array([1.0, 3.0, 2.0, 0.0]))
    order = sorted([*scores.forget, *scores.test], reverse=True)
    sizes = (1, 2, 3, 4, 5, 6)

    def smallest(values):
        seen = np.cumsum([v in values for v in order])
        return min(hypergeom.sf(seen[k - 1] - 1, 7, 3, k) for k in sizes)

    observed = smallest(set(scores.forget))
    every = [
        smallest({*a, *b})
        for a in combinations((9.0, 7.0, 1.0, 3.0), 2)
        for b in combinations((8.0, 2.0, 0.0), 1)
    ]
    exact = np.mean(np.array(every) <= observed + 1e-12)
    result = top_test(Strata.of(*labels), scores, np.random.default_rng(0))
    assert result.p == pytest.approx(exact, abs=0.01)


def test_p_is_at_most_uniform_and_five_of_a_hundred_are_found():
    rng = np.random.default_rng(1)
    ps, hits = [], 0
    for k in range(60):
        labels = rng.integers(0, 5, 100), rng.integers(0, 5, 1000)
        scores = Groups(rng.normal(labels[0], 1), rng.normal(labels[1], 1))
        where = Strata.of(*labels)
        ps.append(top_test(where, scores, rng).p)
        scores.forget[:5] += 12
        hits += k < 20 and top_test(where, scores, rng).p < 0.05
    assert kstest(ps, "uniform", alternative="greater").pvalue > 0.01
    assert hits >= 18


def test_critical_values_belong_to_their_level():
    labels = np.zeros(50, int), np.zeros(100, int)
    rng = np.random.default_rng(2)
    result = top_test(Strata.of(*labels), Groups(rng.normal(size=50), rng.normal(size=100)), rng)
    assert np.mean(result.null <= result.critical(0.05)) == pytest.approx(0.05, abs=0.01)
    assert result.critical(1e-9) == 0


def test_suspicious_rows_have_conformal_p_values():
    where = Strata.of(np.zeros(3, int), np.zeros(9, int))
    scores = Groups(np.array([0.0, 5.0, 99.0]), np.arange(9.0))
    first, second, third = suspicious_rows(where, scores)
    assert (first.slot, first.p) == (2, pytest.approx(1 / 10))
    assert (second.slot, second.p) == (1, pytest.approx(5 / 10))
    assert third.q == 1
    assert first.q == pytest.approx(0.3)


def test_five_remembered_rows_among_five_retrains_are_found_and_none_by_chance():
    """Rows of every difficulty and noise, and models of different calibration."""
    rng = np.random.default_rng(3)
    ps, hits = [], 0
    for k in range(80):
        noise = rng.gamma(2, 1, 100)
        scores = rng.normal(0, 3, 100) + noise * rng.standard_t(5, (6, 100))
        scores *= rng.uniform(0.8, 1.25, (6, 1))
        ps.append(top_test(*among_models(scores[0], scores[1:]), rng).p)
        if k < 20:
            scores[0, :5] += 60
            hits += top_test(*among_models(scores[0], scores[1:]), rng).p < 0.001
    assert kstest(ps, "uniform", alternative="greater").pvalue > 0.01
    assert hits >= 16


def of_customers(rng, versions, remembered=0):
    """Four models that saw no row of ten customers, whose rows are *versions* of one each.

    What sets a model apart is the same on all versions. The first model remembers some rows.
    """
    base = rng.normal(size=(80 // versions, 4)).repeat(versions, 0)
    features = torch.from_numpy(base + 0.05 * rng.normal(size=base.shape)).float()
    models = []
    for k in range(4):
        apart = rng.standard_t(4, 80 // versions).repeat(versions)
        odds = {"forget": apart + 0.1 * rng.normal(size=80), "test": rng.normal(size=200)}
        odds["forget"][: remembered * (k == 0)] += 9
        odds["retain"] = rng.normal(5, 1, 400)
        labels = {part: torch.arange(len(values)) // 8 % 2 for part, values in odds.items()}
        outputs = {}
        for part, values in odds.items():
            rows = features if part == "forget" else torch.from_numpy(rng.normal(size=(400, 4)))
            other = torch.from_numpy(values).float() * (1 - 2 * labels[part])
            logits = torch.stack([other, torch.zeros(len(values))], 1)
            outputs[part] = Outputs(logits, rows[: len(values)].float())
        models.append(Subject(f"model {k}", Predictions(outputs, labels)))
    return models


def top_rows_of(models, **options):
    labels = [np.arange(count) // 8 % 2 for count in (80, 400)]
    parts = RequestParts.from_labels(*labels, np.zeros(80, bool))
    verdict, family, _ = judge(models[:1], models[1:], parts, margin=2, alpha=0.01, **options)
    tests = [e for e in verdict.evidence if e.name == "top_rows"]
    assert family.alike == (not tests)
    notes = " ".join(caveats(verdict, family))
    assert ("were compared as a group only" in notes) == family.alike
    return tests


def test_versions_of_one_row_are_not_compared_one_by_one(monkeypatch):
    """A model that happens to be sure of a customer is sure of all versions of the row."""
    monkeypatch.setattr(top_rows, "DRAWS", 999)
    rng = np.random.default_rng(0)
    ps = []
    for _ in range(12):
        models = of_customers(rng, versions=8)
        odds = np.stack([m.log_odds("forget") for m in models])
        ps.append(top_test(*among_models(odds[0], odds[1:]), rng).p)
        assert not top_rows_of(models)
    assert sum(p < 0.01 for p in ps) >= 3  # chance gives 0 of 12


def test_rows_that_differ_are_compared_one_by_one_unless_they_have_owners(monkeypatch):
    monkeypatch.setattr(top_rows, "DRAWS", 999)
    models = of_customers(np.random.default_rng(0), versions=1, remembered=5)
    (test,) = top_rows_of(models)
    assert test.p < 0.01
    owners = tuple(np.arange(count) // 8 for count in (80, 200))
    assert not top_rows_of(models, owners=owners)


def test_a_retrain_with_a_temperature_remembers_nothing(monkeypatch):
    """It is less sure of all rows, also of those that every model is wrong about."""
    monkeypatch.setattr(top_rows, "DRAWS", 999)
    rng = np.random.default_rng(1)
    for _ in range(5):
        models = of_customers(rng, versions=1)
        hard = {
            part: 6 - 14 * (torch.rand(n, generator=torch.Generator().manual_seed(n)) < 0.15)
            for part, n in (("forget", 80), ("test", 200))
        }
        for model, temperature in zip(models, (3, 1, 1, 1), strict=True):
            for part, outputs in model.predictions.outputs.items():
                if part in hard:
                    outputs.logits[:, 0] += hard[part] * (1 - 2 * model.labels(part))
                outputs.logits.div_(temperature)
        (test,) = top_rows_of(models)
        assert test.p > 0.01


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("rows", [0, 1])
def test_without_rows_that_were_listed_nothing_is_shared(rows):
    """A request of random rows has none; NumPy warned of the mean of nothing."""
    assert shared_with_neighbour(np.zeros((3, rows)), [np.zeros((rows, 4))] * 3) == 0
