"""Properties of the methods that use forget rows together with retain rows."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from methods.canonical import CANONICAL

import coun
from coun.engine import Compute, Engine
from coun.methods import catalogue, make
from coun.models import weights_digest
from coun.objectives import Objective
from coun.objectives.contrastive.registry import ContrastiveLoss

MIXED = ["bad_teacher", "contrastive_unlearning", "laf", "scrub", "unsir"]
ALONE = ["boundary_expand", "boundary_shrink"]
MORE = {
    "scrub+R": ("scrub", {"rewind": True}),
    "contrastive_unlearning, stopped": ("contrastive_unlearning", {"stop_at": 50}),
}
CASES = {name: (name, {}) for name in MIXED + ALONE} | MORE


def as_bytes(images):
    return {image.contiguous().numpy().tobytes() for image in images}


@pytest.mark.parametrize("name", MIXED)
def test_only_retain_rows_enter_the_contrastive_term(name, original, split, monkeypatch):
    seen, objective = [], ContrastiveLoss.objective

    def watched(self, state=()):
        inner = objective(self, state)

        def term(step):
            seen.append(step.batches["retain"].images)
            return inner(step)

        return Objective.of(term)

    monkeypatch.setattr(ContrastiveLoss, "objective", watched)
    plain = coun.unlearn(original, split, name, **CANONICAL[name])
    assert not seen
    with_it = coun.unlearn(original, split, name, **CANONICAL[name], contrast={"weight": 0.1})
    assert weights_digest(with_it.model) != weights_digest(plain.model)
    data = original.data
    retain, forget = (
        as_bytes(data.train.images[split.rows(data, r)]) for r in ("retain", "forget")
    )
    assert not retain & forget
    assert seen
    assert as_bytes(torch.cat(seen)) <= retain


@pytest.mark.parametrize("name", ALONE)
def test_methods_without_retain_data_refuse_the_contrastive_module(name):
    with pytest.raises(coun.CounError, match="never reads retain rows"):
        coun.contrast(make(name))


@pytest.mark.parametrize("case", sorted(CASES))
def test_no_test_row_is_read(case, small, split, make_task, original):
    name, more = CASES[case]
    data = replace(small)
    object.__setattr__(data, "test", None)
    model = original.build()
    model.load_state_dict(original.model.state_dict())
    method = make(name, {**CANONICAL[name], **more})
    task = make_task(data, model, split, reads=catalogue()[name].reads, build=original.build)
    Engine(task, Compute(torch.device("cpu"), "fp32")).run(method.plan(model, task))
    assert weights_digest(model) != weights_digest(original.model)


@pytest.mark.parametrize("name", MIXED + ALONE)
def test_bare_weights_without_settings_are_enough(name, original, split, small):
    more = {"lr": 1e-4} if name == "scrub" else {}  # to reach every method's own epochs fast
    run = coun.unlearn(original.model, split, name, data=small, **more)
    settings = run.record["method"]["settings"]
    assert settings["epochs"] >= 1
    assert settings["batch_size"] >= 1
    assert weights_digest(run.model) != weights_digest(original.model)
