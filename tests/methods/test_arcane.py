"""ARCANE: a request changes only its class, and the one-class networks classify."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import entropy

import coun
from coun.engine import predict
from coun.methods.arcane import pixel_entropy
from coun.models import weights_digest
from coun.models.ensemble import FORGOTTEN, UNUSED

FAST = {"epochs": 2, "batch_size": 16}


def digests(run: coun.Run) -> list[str]:
    return [weights_digest(member) for member in run.model.members]


@pytest.fixture(scope="module")
def half(small) -> coun.Run:
    return coun.train(small, "cnn", method="arcane", keep=0.5, **FAST)


def chosen(run: coun.Run, label: int, count: int) -> torch.Tensor:
    rows = (run.model.place == label).nonzero().flatten()
    return rows[rows > 1][:count]


def test_it_learns_the_digits_from_one_class_at_a_time(digits) -> None:
    run = coun.train(digits, "mlp", method="arcane", epochs=20)
    assert coun.evaluate(run)["test_accuracy"] > 80  # by chance: 10


def test_each_network_reads_the_rows_of_its_class_only(half) -> None:
    place, labels = half.model.place.long(), half.data.train.labels
    assert len(half.model.members) == 10
    for label in range(10):
        own = labels == label
        assert set(place[own].tolist()) <= {label, UNUSED}
        assert (place[own] == label).sum() == math.ceil(own.sum() / 2)


def test_the_most_informative_rows_are_chosen(half) -> None:
    images, place = half.data.train.images, half.model.place.long()
    naive = torch.tensor(
        [entropy(np.unique(x.numpy(), return_counts=True)[1]) for x in images], dtype=torch.float64
    )
    torch.testing.assert_close(pixel_entropy(images), naive)
    for label in range(10):
        own = half.data.train.labels == label
        assert naive[own & (place == label)].min() >= naive[own & (place == UNUSED)].max() - 1e-12


def test_another_class_stays_bit_identical_and_the_result_is_exact(half) -> None:
    split = coun.Split.by_index(half.data, torch.cat([chosen(half, 3, 2), chosen(half, 7, 1)]))
    forgot = coun.unlearn(half, split, "arcane")
    pairs = zip(digests(half), digests(forgot), strict=True)
    assert {label for label, (a, b) in enumerate(pairs) if a != b} == {3, 7}
    exact = coun.train(half.data, "cnn", method="arcane", split=split, keep=0.5, **FAST)
    assert weights_digest(forgot.model) == weights_digest(exact.model)
    assert (forgot.model.place == 3).sum() == (half.model.place == 3).sum()  # others moved up


def test_forgetting_a_row_that_was_not_chosen_costs_nothing(half) -> None:
    rows = (half.model.place == UNUSED).nonzero().flatten()[-5:]
    split = coun.Split.by_index(half.data, rows)
    forgot = coun.unlearn(half, split, "arcane")
    assert digests(forgot) == digests(half)
    assert forgot.record["cost"]["flops"] == 0
    assert (forgot.model.place == FORGOTTEN).nonzero().flatten().tolist() == sorted(rows.tolist())
    exact = coun.train(half.data, "cnn", method="arcane", split=split, keep=0.5, **FAST)
    assert weights_digest(forgot.model) == weights_digest(exact.model)


def test_a_forgotten_class_is_never_predicted(half) -> None:
    split = coun.Split.by_class(half.data, 4)
    forgot = coun.unlearn(half, split, "arcane")
    logits = predict(forgot.classifier, half.data, half.data.train).logits
    assert bool(torch.isfinite(logits).all())
    assert not (logits.argmax(1) == 4).any()


def test_scores_equal_the_errors_of_the_networks_computed_by_hand(half) -> None:
    x = half.data.views.evaluate(half.data.test.images[:5])
    model = half.model
    known = model.reference(x).features
    own = half.data.views.evaluate(half.data.train.images[model.place == 6])
    seen = model.reference(own).features
    spread = seen.std(0, correction=0)
    target = (known - seen.mean(0)) / (spread + spread.mean() / 2)
    error = (model.member(6)(x).features - target).pow(2).mean(1)
    torch.testing.assert_close(model(x)[:, 6], -error.log(), atol=1e-4, rtol=1e-4)


def test_the_result_is_the_same_from_any_original_and_after_a_second_request(original) -> None:
    data = original.data
    first, second = coun.Split.by_index(data, [30]), coun.Split.by_index(data, [40, 41])
    settings = {**FAST, "keep": 0.7}
    once = coun.unlearn(original, first, "arcane", **settings)
    assert once.record["preparation_cost"]["flops"] > 5 * once.record["cost"]["flops"] > 0
    twice = coun.unlearn(once, second, "arcane")
    both = coun.Split.by_index(data, [30, 40, 41])
    exact = coun.train(data, "cnn", method="arcane", split=both, **settings)
    assert weights_digest(twice.model) == weights_digest(exact.model)


def test_the_cost_is_three_forward_passes_and_those_of_the_reference(small) -> None:
    run = coun.train(small, "cnn", method="arcane", **FAST)
    cost = run.record["cost"]
    one = 2 * (64 * 9 * 1 * 32 + 16 * 9 * 32 * 64 + 4 * 9 * 64 * 128 + 128 * 128 + 128 * 10)
    measured = cost["flops"] / one - 4 * cost["samples_seen"]
    assert measured == pytest.approx(len(small.train), rel=1e-3)


def test_a_saved_run_resumes_to_the_same_bits(original, split, tmp_path, killed_at) -> None:
    whole = coun.unlearn(original, split, "arcane", **FAST)
    options = coun.Options(checkpoint_every=0)
    common = {**FAST, "out": tmp_path / "run", "options": options}
    with killed_at(13):
        coun.unlearn(original, split, "arcane", **common)
    resumed = coun.unlearn(original, split, "arcane", **common)
    opened = coun.Run.open(tmp_path / "run", data=original.data)
    for run in (resumed, opened):
        assert weights_digest(run.model) == weights_digest(whole.model)
    assert coun.evaluate(opened)["mia_efficacy"] is not None
