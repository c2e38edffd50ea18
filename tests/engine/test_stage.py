"""Stages of a plan: which rows, views, rates and edits are used, in which order."""

from dataclasses import replace
from itertools import chain

import pytest
import torch
from torch import nn

import coun
from coun.data import Data, TensorExamples
from coun.engine import Checkpoint, Compute, Edit, Engine, Fit, Optimizer, Phase, with_term
from coun.models import Classifier, weights_digest
from coun.objectives import Objective, cross_entropy, info_nce

CPU = Compute(torch.device("cpu"), "fp32")


def numbered(rows):
    """Data whose images hold only their row number."""
    x, y = torch.arange(rows, dtype=torch.float32)[:, None], torch.arange(rows) % 2
    part = TensorExamples(x, y, torch.arange(rows))
    return Data(part, part, ("even", "odd"), coun.Views(letters=""))


class Shaking:
    """Views that add noise, which shows whether a view was drawn anew."""

    def __call__(self, images, generator):
        return images + torch.rand(images.shape, generator=generator)

    def evaluate(self, images):
        return images


def watching(*roles):
    """An objective that records the rows, and the views, of every step."""
    seen = {role: [] for role in roles}

    def term(step):
        for role in roles:
            rows = step.batches[role].images[:, 0].long().tolist()
            seen[role].append((rows, step.inputs(role)[:, 0].tolist()))
        return step.outputs(roles[0]).logits.sum() * 0

    return Objective.of(term), seen


def rows_of(seen):
    return [rows for rows, _ in seen]


def test_an_epoch_reads_every_row_once_in_an_order_of_its_own(make_task):
    objective, seen = watching("retain")
    task = make_task(numbered(20), nn.Linear(1, 2))
    Engine(task, CPU).run([Fit((Phase(objective, {"retain": 5}),), epochs=3)])
    updates = rows_of(seen["retain"])
    flat = [[*chain(*updates[k : k + 4])] for k in (0, 4, 8)]
    assert all(sorted(order) == list(range(20)) for order in flat)
    assert len({tuple(order) for order in flat}) == 3


def test_the_second_role_starts_again_with_a_new_order_and_new_views(make_task):
    data = replace(numbered(26), views=Shaking())
    split = coun.Split.by_index(data, range(6))
    objective, seen = watching("retain", "forget")
    task = make_task(data, nn.Linear(1, 2), split, reads=("retain", "forget"))
    Engine(task, CPU).run([Fit((Phase(objective, {"retain": 2, "forget": 3}),), epochs=1)])
    retain, forget = rows_of(seen["retain"]), rows_of(seen["forget"])
    assert sorted(chain(*retain)) == list(range(6, 26))
    assert [len(r) for r in forget] == [3] * 10
    rounds = [forget[k] + forget[k + 1] for k in range(0, 10, 2)]
    assert all(sorted(order) == list(range(6)) for order in rounds)
    assert len({tuple(order) for order in rounds}) > 1
    noise = [round(v % 1, 6) for _, views in seen["forget"] for v in views]
    assert len(set(noise)) == len(noise)


def test_phases_alternate_within_an_epoch(make_task):
    order = []

    def noting(name):
        return Objective.of(
            lambda step: (order.append(name), step.outputs("retain").logits.sum())[1]
        )

    task = make_task(numbered(4), nn.Linear(1, 2))
    phases = (Phase(noting("a"), {"retain": 2}), Phase(noting("b"), {"retain": 4}))
    log = Engine(task, CPU).run([Fit(phases, epochs=2)])
    assert order == ["a", "a", "b", "a", "a", "b"]
    assert [(row["epoch"], row["phase"]) for row in log.history] == [(1, 1), (1, 2), (2, 1), (2, 2)]


def test_the_recorded_learning_rate_follows_the_schedule(make_task):
    log = Engine(make_task(numbered(8), nn.Linear(1, 2)), CPU).run(
        [Fit((Phase(cross_entropy(), {"retain": 4}),), 4, Optimizer(lr=1e-3, schedule="multistep"))]
    )
    assert [row["lr"] for row in log.history] == pytest.approx([1e-3, 1e-3, 1e-4, 1e-5])


def test_weights_follow_the_progress(make_task):
    seen = []
    weight = lambda progress: seen.append(progress) or 1.0  # noqa: E731
    task = make_task(numbered(8), nn.Linear(1, 2))
    Engine(task, CPU).run([Fit((Phase(weight * cross_entropy(), {"retain": 4}),), 2)])
    assert seen == [0, 0.25, 0.5, 0.75]


def test_edits_run_in_order_between_fits(make_task):
    model = nn.Linear(1, 2)
    edit = Edit("zero", lambda m: nn.init.zeros_(m.weight))
    fit = Fit(
        (Phase(0.0 * cross_entropy() + cross_entropy(), {"retain": 4}),), 1, Optimizer(lr=0.1)
    )
    log = Engine(make_task(numbered(8), model), CPU).run([fit, edit])
    assert log.stages == ["train", "zero"]
    assert not model.weight.any()


def test_a_term_is_added_to_retain_phases_only():
    plain = cross_entropy()
    retain, forget = Phase(plain, {"retain": 2}), Phase(plain, {"forget": 2})
    edit, views = Edit("e", lambda m: None), coun.Views()
    stages = [edit, Fit((retain, forget), 3)]
    kept, fit = with_term(stages, info_nce(temperature=0.1), views)
    assert kept is edit
    assert fit.epochs == 3
    assert len(fit.phases[0].objective.parts) == 2
    assert fit.phases[0].views is views
    assert fit.phases[1] is forget


def test_a_global_seed_changes_nothing(small, dropping):
    digests = set()
    for seed in (1, 2):
        torch.manual_seed(seed)
        digests.add(weights_digest(coun.train(small, dropping, epochs=1).model))
    assert len(digests) == 1


def test_weight_decay_and_momentum_without_a_gradient():
    # A weight of 1 without a gradient, after 100 steps; computed independently.
    weight = nn.Parameter(torch.ones(1, dtype=torch.float64))
    sgd = Optimizer(lr=0.1, momentum=0.9, weight_decay=5e-4).build([weight])
    for _ in range(100):
        weight.grad = torch.zeros_like(weight)
        sgd.step()
    assert weight.item() == pytest.approx(0.9553437984, abs=1e-9)


def test_adamw_decays_weights_independently_of_the_gradient():
    weight = nn.Parameter(torch.ones(1, dtype=torch.float64))
    adamw = Optimizer("adamw", lr=0.1, weight_decay=0.5).build([weight])
    weight.grad = torch.full_like(weight, 7.0)
    adamw.step()
    assert weight.item() == pytest.approx(1 * (1 - 0.05) - 0.1, abs=1e-7)


class Pair(nn.Module):
    """Two branches of different size; both outputs add up in the head's input."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(1, 2), nn.Sequential(nn.Linear(1, 3), nn.Linear(3, 2))
        self.head = nn.Linear(2, 2)

    def forward(self, x):
        return self.head(self.a(x) + self.b(x))


def test_a_part_of_the_model_is_trained_as_a_model(make_task):
    model = Pair()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    part = Classifier(model.b, example=torch.zeros(2, 1))
    fit = Fit((Phase(cross_entropy(), {"retain": 4}),), 2, Optimizer(lr=0.1), model=part)
    log = Engine(make_task(numbered(8), model), CPU).run([fit])
    moved = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert moved == {"b.0.weight", "b.0.bias", "b.1.weight", "b.1.bias"}
    assert log.cost.flops == 2 * 8 * 3 * 2 * (1 * 3 + 3 * 2)  # forward 1, backward 2; a MAC is 2


def test_preparation_is_charged_separately_even_after_a_resume(make_task, tmp_path):
    def stages(dies=False):
        phases = (Phase(cross_entropy(), {"retain": 4}),)
        yield Edit("ready", lambda m: None, preparation=True)
        yield Fit(phases, 3, preparation=True)
        if dies:
            raise KeyboardInterrupt
        yield Fit(phases, 1)

    def run(dies=False):
        torch.manual_seed(0)
        task = make_task(numbered(8), nn.Linear(1, 2))
        task.flops = 1.0
        return Engine(task, CPU, checkpoint=Checkpoint(tmp_path / "c", "x", every=0)).run(
            stages(dies)
        )

    with pytest.raises(KeyboardInterrupt):
        run(dies=True)
    log = run()
    assert (log.preparation.samples_seen, log.cost.samples_seen) == (24, 8)
    assert (log.preparation.flops, log.cost.flops) == (72, 24)
    both = log.cost + log.preparation
    assert both.steps == 8
    assert both.peak_memory_mib == max(log.cost.peak_memory_mib, log.preparation.peak_memory_mib)
