"""RUM: parts are made by memorisation, and each is unlearned with its own method and rows."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import coun
from coun.engine import Engine, Fit
from coun.methods import make
from coun.methods.rum import memorisation
from coun.models import weights_digest

FAST = {"epochs": 1, "batch_size": 32, "lr": 0.02}


def digest(run):
    return weights_digest(run.model)


@pytest.mark.parametrize("name", ["finetune", "neggrad_plus", "salun"])
def test_one_part_is_the_method_itself(original, split, name):
    plain = coun.unlearn(original, split, name, **FAST)
    assert digest(coun.unlearn(original, split, "rum", methods=name, **FAST)) == digest(plain)


def test_parts_are_ordered_by_memorisation_and_no_forget_row_is_in_retain(
    small, split, make_task, original
):
    task = make_task(small, original.model, split, reads=("retain", "forget"))
    method = make("rum", {"methods": "neggrad_plus,nothing,salun", **FAST}).with_defaults_from({})
    stages = list(method.plan(original.model, task))
    assert [s.name for s in stages] == ["neggrad_plus, part 1", "salun, part 3"]
    retain, forget = split.rows(small, "retain"), split.rows(small, "forget")
    drawn = []
    for stage in stages:
        roles = {p.roles.get(role, role): role for p in stage.phases for role in p.batch_sizes}
        assert set(roles.values()) == {"retain", "forget"}
        for name, role in roles.items():
            if role == "retain":
                assert torch.equal(task.indices(name), retain)
            else:
                drawn.append(task.indices(name))
    assert [len(rows) for rows in drawn] == [10, 10]
    assert not torch.isin(drawn[0], drawn[1]).any()
    odds = dict(zip(forget.tolist(), (-memorisation(task)).tolist(), strict=True))
    middle = [odds[row] for row in forget.tolist() if row not in torch.cat(drawn)]
    assert min(odds[r] for r in drawn[0].tolist()) >= max(middle)
    assert min(middle) >= max(odds[r] for r in drawn[1].tolist())


def test_the_proxy_is_the_confidence_and_a_wrong_label_is_memorised(digits, make_task):
    run = coun.train(digits, "cnn", epochs=4)
    split = coun.Split.by_index(digits, range(20, 50))
    rows = split.rows(digits, "forget")
    labels = digits.train.labels.clone()
    wrong = rows[::6]
    labels[wrong] = (labels[wrong] + 5) % 10
    data = replace(digits, train=replace(digits.train, labels=labels))
    task = make_task(data, run.model, split, reads=("retain", "forget"))
    odds = -memorisation(task)
    logits = run.model(digits.views.evaluate(digits.train.images[rows])).double()
    chance = logits.softmax(1)[torch.arange(len(rows)), labels[rows]]
    torch.testing.assert_close(odds.sigmoid(), chance, rtol=1e-4, atol=1e-9)
    assert set(rows[odds.argsort()[: len(wrong)]].tolist()) == set(wrong.tolist())


def test_every_part_is_trained_on_its_own_rows(original, split, monkeypatch):
    seen, update = {}, Engine._update

    def noted(self, at, one, forward, loaded, *rest):
        for role, (_, _, rows) in loaded.items():
            there = self.task.indices(one.roles.get(role, role))[rows]
            seen.setdefault((at.stage, role), set()).update(there.tolist())
        return update(self, at, one, forward, loaded, *rest)

    monkeypatch.setattr(Engine, "_update", noted)
    coun.unlearn(original, split, "rum", methods="salun,neggrad_plus", **FAST)
    parts = seen[0, "forget"], seen[1, "forget"]
    assert not parts[0] & parts[1]
    assert parts[0] | parts[1] == set(split.rows(original.data, "forget").tolist())
    for stage in (0, 1):
        assert not seen[stage, "retain"] & (parts[0] | parts[1])


@pytest.mark.parametrize("at", [3, 7, 13])
def test_it_resumes_to_the_same_bits(original, split, tmp_path, killed_at, at):
    # An edit computed from trained weights, and a mask, lie between trained stages.
    settings = {"methods": "neggrad_plus,ssd,salun", **FAST}
    whole = coun.unlearn(original, split, "rum", **settings)
    common = {"out": tmp_path / "run", "options": coun.Options(checkpoint_every=0), **settings}
    with killed_at(at):
        coun.unlearn(original, split, "rum", **common)
    again = coun.unlearn(original, split, "rum", **common)
    assert digest(again) == digest(whole)
    assert again.record["cost"]["flops"] == whole.record["cost"]["flops"]


def test_settings_reach_the_parts_and_the_record(original, split):
    run = coun.unlearn(original, split, "rum", methods="finetune,ssd", **FAST)
    settings = run.record["method"]["settings"]
    assert [part["name"] for part in settings["parts"]] == ["finetune", "ssd"]
    assert (settings["parts"][0]["epochs"], settings["parts"][0]["lr"]) == (1, 0.02)
    assert settings["parts"][1]["batch_size"] == 32
    assert run.record["method"]["name"] == "rum"


def test_more_parts_than_rows_leaves_some_out(original, small):
    split = coun.Split.by_index(small, [30, 31])
    run = coun.unlearn(original, split, "rum", methods=",".join(["neggrad_plus"] * 3), **FAST)
    assert [s.split(", ")[1] for s in run.record["stages"]] == ["part 1", "part 2"]


@pytest.mark.parametrize("name", ["retrain", "rum", "finetun", "held_out", "out_of_fold", "rewind"])
def test_a_method_that_cannot_unlearn_a_part_is_refused(name):
    with pytest.raises(coun.CounError, match=f"{name}"):
        make("rum", {"methods": f"finetune,{name}"}).with_defaults_from({})


def test_the_contrastive_module_is_added_to_every_part(small, split, make_task, original):
    method = coun.contrast(
        make("rum", {"methods": "finetune,neggrad_plus", **FAST})
    ).with_defaults_from({})
    task = make_task(small, original.model, split, reads=("retain", "forget"))
    plain = make("rum", {"methods": "finetune,neggrad_plus", **FAST}).with_defaults_from({})
    for with_term, without in zip(
        method.plan(original.model, task), plain.plan(original.model, task), strict=True
    ):
        assert isinstance(with_term, Fit)
        terms = [len(s.phases[0].objective.parts) for s in (with_term, without)]
        assert terms[0] == terms[1] + 1
