"""LAF: forget labels are not used, stages alternate, and forget features move."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

import coun
from coun.engine import Compute, Engine
from coun.methods import make
from coun.models import weights_digest

CPU = Compute(torch.device("cpu"), "fp32")
BOTH = ("retain", "forget")
FAST = {"epochs": 2, "batch_size": 16, "lr": 1e-3, "align_lr": 1e-3, "vae_epochs": 3}


def test_forget_labels_do_not_matter(original, split):
    data = original.data
    labels = data.train.labels.clone()
    rows = split.rows(data, "forget")
    labels[rows] = (labels[rows] + 1) % 10
    other = replace(data, train=replace(data.train, labels=labels))
    runs = [
        coun.unlearn(original.model, split, "laf", data=d, **FAST, repair_epochs=1)
        for d in (data, other)
    ]
    assert weights_digest(runs[0].model) == weights_digest(runs[1].model)


def test_the_autoencoders_learn_and_the_model_stays(small, split, make_task, original):
    before = weights_digest(original.model)
    task = make_task(small, original.model, split, reads=BOTH)
    stage = next(iter(make("laf", {**FAST, "vae_epochs": 15}).plan(original.model, task)))
    log = Engine(task, CPU).run([stage])
    assert weights_digest(original.model) == before
    for sweep in (1, 2):
        losses = [row["loss"] for row in log.history if row["phase"] == sweep]
        assert losses[-1] < 0.8 * losses[0]


def test_stages_alternate_and_pass_over_the_smaller_set(original, split):
    record = coun.unlearn(original, split, "laf", **FAST, repair_epochs=1).record
    turns = [f"{name}, epoch {n}" for n in (1, 2) for name in ("forget", "align")]
    assert record["stages"] == ["autoencoders", *turns, "repair"]
    rates = {row["stage"]: row["lr"] for row in record["history"]}
    assert rates["repair"] == 1e-4
    # 30 forget rows are two batches of 15; 170 retain rows eleven, the first two of 15 as well;
    # 200 rows in all, 170 in repair.
    assert record["cost"]["samples_seen"] == 3 * (200 + 30) + 2 * 2 * (30 + 2 * 15) + 170


def test_repair_trains_the_head_alone(original, split):
    plain, mended = (
        coun.unlearn(original, split, "laf", **FAST, repair_epochs=n).model.state_dict()
        for n in (0, 2)
    )
    changed = {key for key in plain if not torch.equal(plain[key], mended[key])}
    assert changed == {"head.weight", "head.bias"}


def test_forget_features_leave_the_originals_more_than_retain_features(fitted, split, small):
    run = coun.unlearn(fitted, split, "laf", **{**FAST, "epochs": 10, "temperature": 1.0})

    def moved(role):
        x = small.views.evaluate(small.train.images[split.rows(small, role)])
        with torch.no_grad():
            pair = [r.classifier(x).features for r in (fitted, run)]
        return 1 - torch.cosine_similarity(*pair).mean().item()

    assert moved("forget") > 1.1 * moved("retain")


@pytest.mark.parametrize("name", ["laf", "arcane"])
def test_a_model_of_one_layer_is_refused(small, split, name) -> None:
    def head_only() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

    with pytest.raises(coun.CounError, match=f"{name} trains the layers before the head"):
        if name == "arcane":
            coun.train(small, head_only, method=name, epochs=1)
        coun.unlearn(coun.train(small, head_only, epochs=1), split, name)
