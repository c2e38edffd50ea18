"""SISA: which networks a request changes, and that the result is exact to the last bit."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

import coun
from coun.methods import make
from coun.methods.sisa import Sisa
from coun.models import weights_digest
from coun.models.ensemble import FORGOTTEN, Layout

SISA = {"shards": 3, "slices": 2, "epochs": 3, "batch_size": 16}


def digests(run: coun.Run) -> list[str]:
    return [weights_digest(member) for member in run.model.members]


@pytest.fixture(scope="module")
def sisa(small) -> coun.Run:
    return coun.train(small, "cnn", method="sisa", **SISA)


def request(sisa: coun.Run, *places: int, count: int = 2) -> coun.Split:
    """*count* rows assigned to each of these networks, without the first two rows of the data."""
    place = sisa.model.place.clone()
    place[:2] = FORGOTTEN
    rows = [(place == p).nonzero().flatten()[:count] for p in places]
    return coun.Split.by_index(sisa.data, torch.cat(rows))


def test_epochs_of_slices_are_those_of_the_paper() -> None:
    # By its formula in exact fractions, and their sum against E passes over a shard.
    assert [Sisa(epochs=20, slices=3).slice_epochs(r) for r in range(3)] == [10, 10, 10]
    assert [Sisa(epochs=5, slices=2).slice_epochs(r) for r in range(2)] == [3, 3]
    assert [Sisa(epochs=1, slices=3).slice_epochs(r) for r in range(3)] == [0, 1, 0]
    for epochs, slices in [(7, 1), (30, 4), (182, 5)]:
        sweeps = [Sisa(epochs=epochs, slices=slices).slice_epochs(r) for r in range(slices)]
        passes = sum(n * (r + 1) / slices for r, n in enumerate(sweeps))
        assert sum(sweeps) == 2 * epochs * slices // (slices + 1)
        assert abs(passes - epochs) <= 1


def test_every_row_is_assigned_once_and_shards_are_of_equal_size(sisa) -> None:
    counts = torch.bincount(sisa.model.place)
    assert counts.sum() == 200
    assert len(counts) == 6
    assert counts.max() - counts.min() <= 1
    again = coun.train(sisa.data, "cnn", method="sisa", **{**SISA, "epochs": 1})
    assert torch.equal(again.model.place, sisa.model.place)
    other = coun.train(sisa.data, "cnn", method="sisa", seed=1, **{**SISA, "epochs": 1})
    assert not torch.equal(other.model.place, sisa.model.place)


@pytest.mark.parametrize("places", [(0,), (3,), (1, 4), (0, 1, 2, 3, 4, 5)])
def test_unlearning_is_training_without_the_rows_bit_for_bit(sisa, places) -> None:
    split = request(sisa, *places)
    forgot = coun.unlearn(sisa, split, "sisa")
    exact = coun.train(sisa.data, "cnn", method="sisa", split=split, **SISA)
    assert weights_digest(forgot.model) == weights_digest(exact.model)
    assert (forgot.record["kind"], exact.record["kind"]) == ("unlearned", "retrain")
    # From the slice of the first forgotten row on, and nothing else.
    hit = {m for p in places for m in range(p, p // 2 * 2 + 2)}
    changed = {
        m for m, (a, b) in enumerate(zip(digests(sisa), digests(forgot), strict=True)) if a != b
    }
    assert changed == hit


def test_the_result_is_the_same_from_any_original_and_preparation_is_charged_separately(
    original, sisa
) -> None:
    split = request(sisa, 2)
    forgot = coun.unlearn(sisa, split, "sisa")
    anew = coun.unlearn(original, split, "sisa", **SISA)
    assert weights_digest(anew.model) == weights_digest(forgot.model)
    assert "preparation_cost" not in forgot.record
    for key in ("steps", "samples_seen", "flops"):
        assert anew.record["cost"][key] == forgot.record["cost"][key]
    whole = coun.train(sisa.data, "cnn", method="sisa", split=split, **SISA).record["cost"]
    prior = anew.record["preparation_cost"]
    assert whole["flops"] == prior["flops"] + anew.record["cost"]["flops"]
    # Without settings it follows the Original's recipe.
    plain = coun.unlearn(original, split, "sisa").record["method"]["settings"]
    assert plain["epochs"] == original.record["original"]["epochs"]


def test_the_cost_is_that_of_the_sub_networks(sisa) -> None:
    cost = sisa.record["cost"]
    one = 2 * (64 * 9 * 1 * 32 + 16 * 9 * 32 * 64 + 4 * 9 * 64 * 128 + 128 * 128 + 128 * 10)
    assert cost["flops"] == 3 * one * cost["samples_seen"]
    # Two epochs on each first slice (34, 33, 33 rows), two on each shard (68, 66, 66).
    assert cost["samples_seen"] == 2 * (34 + 33 + 33) + 2 * (68 + 66 + 66)


def test_a_second_request_keeps_the_first_one_fulfilled(sisa) -> None:
    first, second = request(sisa, 0, count=1), request(sisa, 3)
    once = coun.unlearn(sisa, first, "sisa")
    twice = coun.unlearn(once, second, "sisa")
    both = coun.Split.by_index(sisa.data, torch.cat([first.forget, second.forget]))
    assert weights_digest(twice.model) == weights_digest(
        coun.train(sisa.data, "cnn", method="sisa", split=both, **SISA).model
    )
    assert digests(twice)[:2] == digests(once)[:2]
    # Even where it is cut anew.
    anew = coun.unlearn(twice, twice.split, "sisa", shards=2, epochs=1)
    assert anew.model.layout == Layout(2, 2, "one_hot", 200)
    assert set((anew.model.place == FORGOTTEN).nonzero().flatten().tolist()) == set(
        both.forget.tolist()
    )


def test_a_repeated_request_costs_nothing(sisa) -> None:
    split = request(sisa, 5)
    once = coun.unlearn(sisa, split, "sisa")
    again = coun.unlearn(once, split, "sisa")
    assert weights_digest(again.model) == weights_digest(once.model)
    assert again.record["cost"]["flops"] == again.record["cost"]["steps"] == 0


def test_a_shard_that_loses_all_its_rows_does_not_vote(sisa) -> None:
    rows = (sisa.model.place >= 4).nonzero().flatten()
    split = coun.Split.by_index(sisa.data, rows)
    forgot = coun.unlearn(sisa, split, "sisa")
    assert digests(forgot)[:4] == digests(sisa)[:4]
    assert not forgot.model.head.weight[:, 20:].any()
    assert coun.evaluate(forgot)["test_accuracy"] > 0


def test_it_is_saved_opened_evaluated_and_continued_from_disk(small, tmp_path) -> None:
    made = coun.train(small, "cnn", method="sisa", out=tmp_path / "o", **SISA)
    opened = coun.Run.open(tmp_path / "o", data=small)
    assert opened.record["model"]["name"] == "ensemble:3x2:one_hot:200:cnn"
    split = request(opened, 1)
    forgot = coun.unlearn(opened, split, "sisa", out=tmp_path / "f")
    assert weights_digest(forgot.model) == weights_digest(coun.unlearn(made, split, "sisa").model)
    retrain = coun.train(small, "cnn", method="sisa", split=split, out=tmp_path / "r", **SISA)
    computed = coun.evaluate(tmp_path / "f", against=retrain, data=small)
    assert computed["average_gap"] == 0
    assert coun.unlearn(opened, split, "sisa", out=tmp_path / "f").record == forgot.record


def test_a_killed_run_resumes_to_the_same_bits_and_the_same_cost(
    original, split, tmp_path, killed_at
) -> None:
    whole = coun.unlearn(original, split, "sisa", **SISA)
    common = {**SISA, "out": tmp_path / "run", "options": coun.Options(checkpoint_every=0)}
    for step in (1, 9, 13):  # in the first slice, later in it, in others
        with killed_at(step):
            coun.unlearn(original, split, "sisa", **common)
    resumed = coun.unlearn(original, split, "sisa", **common)
    assert weights_digest(resumed.model) == weights_digest(whole.model)
    for key in ("steps", "samples_seen", "flops"):
        assert resumed.record["cost"][key] == whole.record["cost"][key]


def test_a_network_of_the_user_is_continued_in_python(small) -> None:
    def maker():
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))

    settings = {**SISA, "votes": "softmax"}
    made = coun.train(small, maker, method="sisa", **settings)
    split = request(made, 4)
    forgot = coun.unlearn(made, split, "sisa")
    exact = coun.train(small, maker, method="sisa", split=split, **settings)
    assert weights_digest(forgot.model) == weights_digest(exact.model)


def test_the_ensemble_learns(digits) -> None:
    run = coun.train(digits, "cnn", method="sisa", shards=3, slices=2, epochs=8)
    assert coun.evaluate(run)["test_accuracy"] > 80


def test_a_plain_retrain_of_an_ensemble_is_one_network(sisa, split) -> None:
    run = coun.unlearn(sisa, split, "retrain")
    assert run.record["model"]["name"] == "cnn"
    plain = coun.train(sisa.data, "cnn", split=split, epochs=3, batch_size=16)
    assert weights_digest(run.model) == weights_digest(plain.model)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda run, split: coun.unlearn(run, split, "finetune"), "an ensemble of 6"),
        (lambda run, split: coun.contrast(make("sisa")), "it is exact"),
        (lambda run, split: coun.train(run.data, "cnn", method="coun"), "one of .*sisa"),
        (
            lambda run, split: coun.unlearn(
                coun.models.build("cnn", classes=10, shape=(1, 8, 8)), split, "sisa", data=run.data
            ),
            "build=",
        ),
    ],
)
def test_impossible_requests_are_refused_with_the_reason(sisa, split, call, message) -> None:
    with pytest.raises(coun.CounError, match=message) as caught:
        call(sisa, split)
    assert "\n" not in str(caught.value)


def test_forgotten_images_do_not_matter_even_while_it_is_prepared(original, split) -> None:
    data = original.data
    images = data.train.images.clone()
    images[split.forget] = 255 - images[split.forget]
    other = replace(data, train=replace(data.train, images=images))
    runs = [
        coun.unlearn(original.model, split, "sisa", data=d, build=original.build, **SISA)
        for d in (data, other)
    ]
    assert weights_digest(runs[0].model) == weights_digest(runs[1].model)
