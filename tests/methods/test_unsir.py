"""UNSIR: what the noise is, and what impair and repair train on."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

import coun
from coun.engine import Compute, Engine
from coun.methods import make
from coun.models import weights_digest

CPU = Compute(torch.device("cpu"), "fp32")
BOTH = ("retain", "forget")
FAST = {"epochs": 2, "batch_size": 32, "lr": 1e-3, "noise_images": 8, "noise_steps": 20}


def learnt(task, model, **settings):
    """The noise of each class, before and after its stage."""
    stage = next(iter(make("unsir", {**FAST, **settings}).plan(model, task)))
    (noise,) = stage.modules
    before = [x.detach().clone() for x in noise]
    Engine(task, CPU).run([stage])
    return before, [x.detach() for x in noise]


def test_a_model_that_knows_nothing_leaves_no_noise(small, make_task, dropping):
    split = coun.Split.by_index(small, small.train.index[small.train.labels == 3][:2])
    net = dropping()
    with torch.no_grad():
        for p in net.parameters():
            p.zero_()
    task = make_task(small, net, split, reads=BOTH)
    before, after = learnt(task, net, noise_steps=200, noise_lr=0.05)
    assert max(float(x.abs().max()) for x in before) > 2
    assert max(float(x.abs().max()) for x in after) < 0.05


def test_noise_unlearns_each_forgotten_class_and_the_model_stays(small, split, make_task, fitted):
    before_weights = weights_digest(fitted.model)
    task = make_task(small, fitted.model, split, reads=BOTH)
    before, after = learnt(task, fitted.model, noise_decay=0.01)
    assert weights_digest(fitted.model) == before_weights
    classes = sorted(set(small.train.labels[split.rows(small, "forget")].tolist()))
    assert len(after) == len(classes)
    model = task.teacher()
    for c, old, new in zip(classes, before, after, strict=True):
        assert old.shape == new.shape == (8, 1, 8, 8)
        with torch.no_grad():
            loss = [F.cross_entropy(model(x).logits, torch.full((8,), c)) for x in (old, new)]
        assert loss[1] > loss[0] + 1


def test_impair_mixes_and_both_stages_draw_few_retain_rows(small, make_task, dropping):
    net, split = dropping(), coun.Split.by_class(small, "3")
    task = make_task(small, net, split, reads=BOTH)
    task.flops = 1.0
    method = make("unsir", {**FAST, "batch_size": 50, "per_class": 4, "noise_share": 0.5})
    noise, impair, repair = method.plan(net, task)
    (phase,) = impair.phases
    assert phase.batch_sizes == {"retain": 25}
    rows = task.indices(phase.roles["retain"])
    assert (
        torch.bincount(small.train.labels[rows], minlength=10).tolist() == [4] * 3 + [0] + [4] * 6
    )
    assert repair.phases[0].roles == phase.roles
    assert repair.phases[0].batch_sizes == {"retain": 50}
    Engine(task, CPU).run([noise])
    seen = task.cost.forward_images
    Engine(task, CPU).run([replace(impair, epochs=1)])
    assert task.cost.forward_images - seen == 2 * 36  # as many noise images as retain images


def test_only_the_labels_of_forget_rows_matter(original, split):
    data = original.data
    images = data.train.images.clone()
    rows = split.rows(data, "forget")
    images[rows] = 255 - images[rows]
    other = replace(data, train=replace(data.train, images=images))
    runs = [coun.unlearn(original.model, split, "unsir", data=d, **FAST) for d in (data, other)]
    assert weights_digest(runs[0].model) == weights_digest(runs[1].model)


def test_a_whole_class_is_forgotten(fitted, small):
    split = coun.Split.by_class(small, "3")
    settings = {"epochs": 2, "batch_size": 32, "lr": 2e-3}
    result = coun.evaluate(coun.unlearn(fitted, split, "unsir", **settings))
    assert coun.evaluate(fitted, split=split)["unlearn_accuracy"] < 5
    assert result["unlearn_accuracy"] > 25
    assert result["retain_accuracy"] > 80


def test_no_share_of_noise_is_refused():
    with pytest.raises(coun.CounError, match="noise_share"):
        make("unsir", {"noise_share": 0})
