"""Trials that choose optimizer and learning rate for a model of unknown training."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

import coun
from coun.methods import catalogue, make
from coun.models import build, copy_model, weights_digest
from coun.runs import probing
from coun.runs.recipes import by_family, family, recipe


def network():
    layers = (nn.Linear(64, 32), nn.LayerNorm(32), nn.GELU(), nn.Linear(32, 10))
    return nn.Sequential(nn.Flatten(), *layers)


@pytest.fixture(scope="module")
def normalised(small):
    """A network with LayerNorm, trained by a plain loop with AdamW."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = network()
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)
    x, y = small.views.evaluate(small.train.images), small.train.labels
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model.eval()


def unlearn(model, split, data, method="finetune", **settings):
    return coun.unlearn(copy_model(model), split, method, data=data, **{"epochs": 1, **settings})


def test_families(original):
    assert family(original.model) == "BatchNorm"
    assert family(nn.TransformerEncoderLayer(8, 2)) == "attention or LayerNorm"
    assert family(build("mlp", classes=2, shape=(3,))) == "no normalisation"


def test_the_largest_rate_within_bounds_is_chosen(normalised, split, small):
    # The head is scaled up and its input down, so that plain rates are far too large for it.
    fragile = copy_model(normalised)
    with torch.no_grad():
        fragile[3] = nn.Sequential(nn.GELU(), nn.Linear(32, 32, bias=False))
        fragile[3][1].weight.copy_(3000 * torch.eye(32))
        fragile[4].weight.div_(3000)
    record = unlearn(fragile, split, small).record
    rates = [trial.lr for trial in record.probe.trials]
    limit = record.probe.loss + 0.1 * (math.log(10) - record.probe.loss)
    assert rates == [1e-3 / 4**k for k in range(len(rates))]
    assert len(rates) > 1
    assert all(trial.loss > limit for trial in record.probe.trials[:-1])
    assert record.probe.trials[-1].loss <= limit
    assert record.probe.accepted
    assert record.method.settings["lr"] == pytest.approx(rates[-1], rel=0.01)
    assert record.method.settings["optimizer"] == "adamw"


def test_trials_are_the_same_every_time_and_leave_the_start_alone(normalised, split, small):
    before = weights_digest(normalised)
    first, second = (unlearn(normalised, split, small).record for _ in range(2))
    assert first.probe == second.probe
    assert first.identity == second.identity
    assert weights_digest(normalised) == before


def test_the_cost_of_the_trials_is_in_the_cost_of_the_run(normalised, split, small):
    run = unlearn(normalised, split, small).record
    chosen = {key: run.method.settings[key] for key in ("lr", "optimizer")}
    bare = unlearn(normalised, split, small, **chosen).record
    trials, held_back = len(run.probe.trials), 85  # half of the 170 retained rows
    per_trial = sum(85 * (k + 1) // 3 - 85 * k // 3 for k in range(3)) * 4  # 12 steps, 3 a pass
    assert bare.probe is None
    assert bare.weights_sha256 == run.weights_sha256
    extra = run.cost.forward_images - bare.cost.forward_images
    assert extra == (trials + 1) * held_back + trials * per_trial
    assert run.cost.steps - bare.cost.steps == 12 * trials


@pytest.mark.parametrize(
    ("method", "ratio", "role"), [("neggrad", 1 / 500, "forget"), ("scrub", 1 / 100, "retain")]
)
def test_a_method_keeps_its_rate_beside_that_of_fine_tuning(
    normalised, split, small, method, ratio, role
):
    record = unlearn(normalised, split, small, method).record
    expected = ratio * record.probe.trials[-1].lr
    assert record.method.settings["lr"] == pytest.approx(expected, rel=0.01)
    assert record.probe.role == role


@pytest.mark.parametrize(("batch_size", "usual"), [(32, 0.05), (4, 0.03)])
def test_few_steps_of_held_out_matching_get_a_larger_rate(
    normalised, split, small, caplog, batch_size, usual
):
    """There are 12 steps or 86, and the rate for fewer than 50 is 0.05 beside 0.05 of SGD."""
    record = unlearn(normalised, split, small, "held_out", epochs=2, batch_size=batch_size).record
    expected = usual / 0.05 * record.probe.trials[-1].lr
    assert record.method.settings["lr"] == pytest.approx(expected, rel=0.01)
    assert not any("is low" in line for line in caplog.messages)


def test_the_share_that_is_expected_has_the_trials(small, split):
    original = coun.train(small, "mlp", epochs=10, optimizer="adamw", lr=1e-3)
    run = coun.unlearn(original, split, "finetune", epochs=1)
    exact = coun.train(small, "mlp", split=split, epochs=10)
    flops = run.record.cost.flops / exact.record.cost.flops
    assert run.record.retrain_share == pytest.approx(flops, rel=0.02)


def test_who_needs_no_trials(normalised, original, split, small):
    assert coun.unlearn(original, split, "finetune", epochs=1).record.probe is None
    assert unlearn(normalised, split, small, lr=0.01).record.method.settings["optimizer"] == "sgd"
    for name in ("ssd", "bad_teacher", "retrain"):
        assert not probing.needs_probe(make(name), {}, {})
    assert probing.needs_probe(make("coun"), {"optimizer": "adamw"}, {})
    assert probing.needs_probe(make("coun"), {}, {"optimizer": "adamw"})


def test_a_given_optimizer_is_the_only_one_tried(normalised, split, small):
    record = unlearn(normalised, split, small, optimizer="sgd").record
    assert {trial.optimizer for trial in record.probe.trials} == {"sgd"}


def test_a_request_of_one_row_has_trials_too(normalised, small):
    split = coun.Split.by_index(small, [5])
    assert unlearn(normalised, split, small, "neggrad").record.probe.rows == 1


def test_the_choice_is_said(normalised, split, small, caplog):
    unlearn(normalised, split, small, "coun", contrast=None)
    (line,) = caplog.messages
    assert "chose optimizer adamw and lr" in line
    assert "--set lr=" in line


def test_training_from_scratch_follows_the_family(normalised, split, small):
    assert by_family(normalised) == {"optimizer": "adamw", "lr": 1e-3}
    assert recipe(None, network=normalised) == replace(recipe(None), optimizer="adamw", lr=1e-3)
    assert recipe("vit", network=normalised) == recipe("vit")
    retrain = coun.unlearn(normalised, split, "retrain", data=small, build=network, epochs=1)
    assert retrain.record.method.settings["optimizer"] == "adamw"


def test_trials_of_negation_start_from_negated_weights(normalised, split, small):
    negated = unlearn(normalised, split, small, "not").record.probe
    plain = unlearn(normalised, split, small, "finetune").record.probe
    assert negated.loss > plain.loss
    assert negated.trials[-1].loss < negated.loss


@pytest.mark.parametrize("name", [n for n, kind in sorted(catalogue().items()) if kind.edits_first])
def test_an_edit_before_the_trials_may_read_what_the_method_reads(name, small, split):
    model = build("cnn", classes=10, shape=(1, 8, 8))
    assert unlearn(model, split, small, name).record.probe is not None


def test_rates_begin_at_half_of_the_rate_that_the_original_was_trained_with(split, small):
    """At the usual rate of AdamW, the large weights of such a model hardly move."""
    original = coun.train(small, network, lr=0.08, epochs=12)
    assert original.record.original["optimizer"] == "adamw"
    own, usual = (
        coun.unlearn(original, split, "class_matching", epochs=3, **settings)
        for settings in ({}, {"optimizer": "adamw", "lr": 1e-3})
    )
    assert own.record.probe.trials[0].lr == 0.04
    start = coun.evaluate(original, split=split)["unlearn_accuracy"]
    changes = [coun.evaluate(run)["unlearn_accuracy"] - start for run in (own, usual)]
    assert changes[0] > 2 * max(changes[1], 5)  # class matching takes rows away from their class
    # What ascent does at a large rate, no trial shows.
    pushed = coun.unlearn(original, split, "neggrad_plus", epochs=1)
    assert pushed.record.probe.trials[0].lr == 1e-3
