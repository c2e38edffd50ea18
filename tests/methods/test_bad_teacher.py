"""Bad Teacher: which teacher is used for which set, and how the divergence is averaged."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

import coun
from coun.methods import bad_teacher as module
from coun.methods import make
from coun.models import build
from coun.objectives.distillation import kl_loss

BOTH = ("retain", "forget")


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 10))


def test_with_two_good_teachers_the_model_does_not_change(small, split, net, monkeypatch):
    monkeypatch.setattr(module, "bad_teacher", lambda task: task.teacher())
    run = coun.unlearn(net, split, "bad_teacher", data=small)
    assert all(abs(row["loss"]) < 1e-5 for row in run.record["history"])
    for before, after in zip(net.parameters(), run.model.parameters(), strict=True):
        # Adam scales rounding up, to lr an update at most: here one update of 1e-4.
        torch.testing.assert_close(after, before, rtol=0, atol=2e-4)


def test_the_element_mean_is_a_tenth_of_the_step(small, split, net):
    plain = {"optimizer": "sgd", "momentum": 0.0, "epochs": 2, "batch_size": 256}
    runs = [
        coun.unlearn(net, split, "bad_teacher", data=small, **plain, reduction=how, lr=lr)
        for how, lr in (("batchmean", 0.1), ("mean", 1.0))
    ]
    moved = False
    for before, *after in zip(net.parameters(), *(r.model.parameters() for r in runs), strict=True):
        torch.testing.assert_close(*after)
        moved = moved or not torch.allclose(before, after[0], atol=1e-3)
    assert moved


def test_a_batch_holds_both_sets_in_proportion(small, split, net, make_task):
    task = make_task(small, net, split, reads=BOTH)
    (stage,) = make("bad_teacher", {"batch_size": 27}).plan(net, task)
    part = task.indices(stage.phases[0].roles["retain"])
    assert len(part) == len(set(part.tolist())) == round(0.3 * 170)
    assert set(part.tolist()) <= set(task.indices("retain").tolist())
    # 51 of the retain share against 30 to forget: 17 and 10 of 27.
    assert stage.phases[0].batch_sizes == {"retain": 17, "forget": 10}


@pytest.mark.parametrize("name", ["cnn", "vit"])
@pytest.mark.parametrize("known", [True, False], ids=["factory", "bare weights"])
def test_the_bad_teacher_is_untrained(small, split, make_task, name, known):
    shape = (1, 8, 8) if name == "cnn" else (3, 32, 32)

    def fresh():
        return build(name, classes=10, shape=shape)

    model = fresh()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(3.0)  # what was learnt
        for b in model.buffers():
            b.add_(3)
    data = small
    if name == "vit":
        x = torch.zeros((12, 3, 32, 32), dtype=torch.uint8)
        data = coun.from_arrays(x, torch.arange(12) % 10, x, torch.arange(12) % 10)
        split = coun.Split.by_index(data, [3])
    teachers = []
    for seed in (0, 0, 1):
        task = make_task(data, model, split, reads=BOTH, seed=seed, build=fresh if known else None)
        teachers.append(module.bad_teacher(task))
    values = [torch.cat([p.flatten() for p in t.parameters()]) for t in teachers]
    assert torch.equal(values[0], values[1])
    assert not torch.equal(values[1], values[2])
    for key, value in teachers[0].inner.state_dict().items():
        assert value.double().abs().mean() < 1.5, key
    assert not teachers[0].training
    assert not any(p.requires_grad for p in teachers[0].parameters())


def test_forget_outputs_move_to_those_of_the_bad_teacher(fitted, split, small):
    taught = []
    make_bad = module.bad_teacher

    def note(task):
        taught.append(make_bad(task))
        return taught[-1]

    def apart(model, teacher, role):
        x = small.views.evaluate(small.train.images[split.rows(small, role)])
        with torch.no_grad():
            return kl_loss(model(x), teacher(x), temperature=1.0).item()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "bad_teacher", note)
        settings = {"epochs": 10, "batch_size": 32, "lr": 1e-3}
        run = coun.unlearn(fitted, split, "bad_teacher", **settings)
    bad = taught[0].inner
    start, end = (apart(m, bad, "forget") for m in (fitted.model, run.model))
    assert end < 0.5 * start
    assert apart(run.model, fitted.model, "retain") < apart(run.model, bad, "retain")
    wrong = [coun.evaluate(r, split=split)["unlearn_accuracy"] for r in (fitted, run)]
    assert all(a < b for a, b in pairwise(wrong))
