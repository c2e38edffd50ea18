"""SCRUB: its neutral setting, the maximisation phases, and the rewind."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

import coun
from coun.engine import Compute, Engine, Optimizer
from coun.methods import make, scrub
from coun.models import weights_digest
from coun.objectives.distillation import kl_loss

CPU = Compute(torch.device("cpu"), "fp32")
FAST = {"epochs": 2, "batch_size": 32, "lr": 0.02}
BOTH = ("retain", "forget")


def digest(run):
    return weights_digest(run.model)


def test_without_maximisation_and_teacher_it_is_finetune(original, split):
    settings = {**FAST, "schedule": "cosine"}
    plain = coun.unlearn(original, split, "finetune", **settings)
    bare = {**settings, "max_steps": 0, "alpha": 0.0, "gamma": 1.0}
    assert digest(coun.unlearn(original, split, "scrub", **bare)) == digest(plain)
    for more in ({"max_steps": 1}, {"alpha": 0.1}, {"gamma": 0.9}):
        assert digest(coun.unlearn(original, split, "scrub", **{**bare, **more})) != digest(plain)


def climb(task, model, before):
    """The change of the weights in the first maximisation phase alone, without momentum."""
    stage = next(iter(make("scrub", FAST).plan(model, task)))
    assert list(stage.phases[0].batch_sizes) == ["forget"]
    plain = Optimizer("sgd", 1.0, momentum=0.0, weight_decay=0.0, schedule="constant")
    Engine(task, CPU).run([replace(stage, phases=stage.phases[:1], epochs=1, optimizer=plain)])
    return max(
        float((a - b).detach().abs().max()) for a, b in zip(model.parameters(), before, strict=True)
    )


def test_student_and_teacher_are_equal_at_first_unless_there_is_batchnorm(
    small, split, make_task, original
):
    torch.manual_seed(0)
    nets = {"plain": nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 10))}
    nets["batchnorm"] = original.build()
    nets["batchnorm"].load_state_dict(original.model.state_dict())
    moved = {}
    for name, net in nets.items():
        task = make_task(small, net, split, reads=BOTH)
        moved[name] = climb(task, net, [p.detach().clone() for p in net.parameters()])
    assert moved["plain"] < 1e-5 < 1e-3 < moved["batchnorm"]


def test_outputs_change_on_forget_rows_and_stay_on_the_rest(fitted, split, small):
    def apart(run):
        result = {}
        for role in BOTH:
            x = small.views.evaluate(small.train.images[split.rows(small, role)])
            with torch.no_grad():
                pair = run.model(x), fitted.model(x)
            result[role] = kl_loss(*pair, temperature=4.0).item()
        return result

    settings = {**FAST, "epochs": 3, "alpha": 0.5, "lr": 0.01, "forget_batch_size": 8}
    still = apart(coun.unlearn(fitted, split, "scrub", **settings, max_steps=0))
    gone = apart(coun.unlearn(fitted, split, "scrub", **settings, max_steps=3))
    assert gone["forget"] > 10 * still["forget"]
    assert gone["forget"] > gone["retain"]


def test_the_maximisation_ends_after_max_steps(original, split):
    history = coun.unlearn(original, split, "scrub", **FAST, max_steps=1).record["history"]
    assert [(row["epoch"], row["phase"]) for row in history] == [(1, 1), (1, 2), (2, 2)]


@pytest.mark.parametrize(("wanted", "epoch"), [(52.0, 2), (0.0, 1), (100.0, 3)])
def test_it_rewinds_to_the_epoch_nearest_the_reference(original, split, monkeypatch, wanted, epoch):
    def run(errors, epochs):
        script = iter(errors)
        monkeypatch.setattr(scrub, "error_rate", lambda task, role: next(script))
        settings = {**FAST, "epochs": epochs, "rewind": True, "reference_error": wanted}
        return coun.unlearn(original, split, "scrub", **settings)

    rewound = run([10.0, 50.0, 60.0], 3)
    reported = rewound.record["stages"][-1]
    assert reported.startswith(f"rewind to epoch {epoch}:")
    assert reported.endswith(f"reference {wanted:.1f}%")
    # The same training, stopped there: its last epoch matches the reference.
    assert digest(rewound) == digest(run([*[-999.0] * (epoch - 1), wanted], epoch))


def test_the_reference_is_the_final_error_on_held_out_rows(original, split, monkeypatch):
    asked = []
    values = {"forget": 40.0, "retain, held out": 33.0}

    def spy(task, role):
        rows = task.indices(role)
        asked.append((role, rows))
        return values[role]

    monkeypatch.setattr(scrub, "error_rate", spy)
    run = coun.unlearn(original, split, "scrub", **FAST, rewind=True)
    assert [role for role, _ in asked] == ["forget", "forget", "retain, held out"]
    assert set(asked[-1][1].tolist()) <= set(split.rows(original.data, "retain").tolist())
    assert run.record["stages"][-1].endswith("forget error 40.0%, reference 33.0%")


def test_the_reported_forget_error_is_that_of_the_model(original, split):
    run = coun.unlearn(original, split, "scrub", **FAST, rewind=True, reference_error=100.0)
    reported = float(run.record["stages"][-1].split("forget error ")[1].split("%")[0])
    assert reported == pytest.approx(coun.evaluate(run)["unlearn_accuracy"], abs=0.05)


def test_a_killed_rewind_resumes_to_the_same_bits(original, split, tmp_path, killed_at):
    settings = {**FAST, "epochs": 3, "rewind": True, "reference_error": 100.0}
    whole = coun.unlearn(original, split, "scrub", **settings)
    assert "epoch 3" not in whole.record["stages"][-1]  # so that an earlier copy is rebuilt
    common = {**settings, "out": tmp_path / "run", "options": coun.Options(checkpoint_every=0)}
    with killed_at(17):  # in the third epoch: each has 1 climb and 5 or 6 updates
        coun.unlearn(original, split, "scrub", **common)
    again = coun.unlearn(original, split, "scrub", **common)
    assert digest(again) == digest(whole)
    assert again.record["stages"] == whole.record["stages"]
