from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import coun
from coun.data import Data, TensorExamples
from coun.engine import Compute, Edit, Engine, Fit, Optimizer, Pass, with_term
from coun.errors import CounError
from coun.models import weights_digest
from coun.objectives import Objective, cross_entropy, info_nce

CPU = Compute(torch.device("cpu"), "fp32")


def numbered(rows):
    """Data whose images hold their own row number and nothing else."""
    x, y = torch.arange(rows, dtype=torch.float32)[:, None], torch.arange(rows) % 2
    part = TensorExamples(x, y, torch.arange(rows))
    return Data(part, part, ("even", "odd"), coun.Views(letters=""))


class Shaking:
    """Adds noise, so that a view shows whether it was drawn anew."""

    def __call__(self, images, generator):
        return images + torch.rand(images.shape, generator=generator)

    def evaluate(self, images):
        return images


def watching(*roles):
    """An objective that notes the rows, and the views, of every update."""
    seen = {role: [] for role in roles}

    def term(step):
        for role in roles:
            rows = step.batches[role].images[:, 0].long().tolist()
            seen[role].append((rows, step.inputs(role)[:, 0].tolist()))
        return step.outputs(roles[0]).logits.sum() * 0

    return Objective.of(term), seen


def rows_of(seen):
    return [rows for rows, _ in seen]


@pytest.mark.parametrize(
    ("rows", "size", "sizes"),
    [(8, 4, [4, 4]), (10, 4, [4, 4, 2]), (9, 4, [4, 4]), (3, 8, [3]), (3, 1, [1, 1, 1])],
)
def test_a_short_last_batch_is_kept_and_a_lone_last_row_is_not(make_task, rows, size, sizes):
    objective, seen = watching("retain")
    task = make_task(numbered(rows), nn.Linear(1, 2))
    Engine(task, CPU).run([Fit((Pass(objective, {"retain": size}),), epochs=1)])
    assert [len(r) for r in rows_of(seen["retain"])] == sizes


def test_an_epoch_draws_every_row_once_and_each_epoch_its_own_order(make_task):
    objective, seen = watching("retain")
    task = make_task(numbered(20), nn.Linear(1, 2))
    Engine(task, CPU).run([Fit((Pass(objective, {"retain": 5}),), epochs=3)])
    flat = [sum(rows_of(seen["retain"])[k : k + 4], []) for k in (0, 4, 8)]
    assert all(sorted(order) == list(range(20)) for order in flat)
    assert len({tuple(order) for order in flat}) == 3


def test_the_second_role_starts_over_with_a_new_order_and_new_views(make_task):
    data = replace(numbered(26), views=Shaking())
    split = coun.Split.by_index(data, range(6))
    objective, seen = watching("retain", "forget")
    task = make_task(data, nn.Linear(1, 2), split, reads=("retain", "forget"))
    Engine(task, CPU).run([Fit((Pass(objective, {"retain": 2, "forget": 3}),), epochs=1)])
    retain, forget = rows_of(seen["retain"]), rows_of(seen["forget"])
    assert sorted(sum(retain, [])) == list(range(6, 26))
    assert [len(r) for r in forget] == [3] * 10
    rounds = [forget[k] + forget[k + 1] for k in range(0, 10, 2)]
    assert all(sorted(order) == list(range(6)) for order in rounds)
    assert len({tuple(order) for order in rounds}) > 1
    noise = [round(v % 1, 6) for _, views in seen["forget"] for v in views]
    assert len(set(noise)) == len(noise)


def test_passes_take_turns_within_an_epoch(make_task):
    order = []

    def noting(name):
        return Objective.of(
            lambda step: (order.append(name), step.outputs("retain").logits.sum())[1]
        )

    task = make_task(numbered(4), nn.Linear(1, 2))
    passes = (Pass(noting("a"), {"retain": 2}), Pass(noting("b"), {"retain": 4}))
    log = Engine(task, CPU).run([Fit(passes, epochs=2)])
    assert order == ["a", "a", "b", "a", "a", "b"]
    assert [(row["epoch"], row["sweep"]) for row in log.history] == [(1, 1), (1, 2), (2, 1), (2, 2)]


def test_the_first_update_is_minus_lr_times_gradient_and_decay(make_task, small):
    data = replace(small, views=replace(small.views, letters="N"))
    torch.manual_seed(0)
    model = coun.models.build("mlp", classes=10, shape=data.shape)
    before = [p.detach().clone() for p in model.parameters()]
    loss = F.cross_entropy(model(data.views.evaluate(data.train.images)), data.train.labels)
    gradient = torch.autograd.grad(loss, list(model.parameters()))
    sgd = Optimizer(lr=0.05, momentum=0.9, weight_decay=0.01)
    stage = Fit((Pass(cross_entropy(), {"retain": len(data.train)}),), 1, sgd)
    Engine(make_task(data, model), CPU).run([stage])
    for now, was, slope in zip(model.parameters(), before, gradient, strict=True):
        expected = was - 0.05 * (slope + 0.01 * was)
        torch.testing.assert_close(now.detach(), expected, rtol=1e-5, atol=1e-7)


def test_the_logged_rate_follows_the_schedule(make_task):
    log = Engine(make_task(numbered(8), nn.Linear(1, 2)), CPU).run(
        [Fit((Pass(cross_entropy(), {"retain": 4}),), 4, Optimizer(lr=1e-3, schedule="multistep"))]
    )
    assert [row["lr"] for row in log.history] == pytest.approx([1e-3, 1e-3, 1e-4, 1e-5])


def test_weights_follow_the_progress(make_task):
    seen = []
    weight = lambda progress: seen.append(progress) or 1.0  # noqa: E731
    task = make_task(numbered(8), nn.Linear(1, 2))
    Engine(task, CPU).run([Fit((Pass(weight * cross_entropy(), {"retain": 4}),), 2)])
    assert seen == [0, 0.25, 0.5, 0.75]


def test_edits_run_in_order_between_fits(make_task):
    model = nn.Linear(1, 2)
    edit = Edit("zero", lambda m: nn.init.zeros_(m.weight))
    fit = Fit((Pass(0.0 * cross_entropy() + cross_entropy(), {"retain": 4}),), 1, Optimizer(lr=0.1))
    log = Engine(make_task(numbered(8), model), CPU).run([fit, edit])
    assert log.stages == ["train", "zero"]
    assert not model.weight.any()


def test_a_plan_gets_only_the_roles_it_declares(make_task):
    data = numbered(8)
    split = coun.Split.by_index(data, [1, 2])
    stage = Fit((Pass(cross_entropy("forget"), {"forget": 2}),), 1)
    with pytest.raises(CounError, match="reads forget data but declares that it reads retain"):
        Engine(make_task(data, nn.Linear(1, 2), split), CPU).run([stage])
    with pytest.raises(CounError, match="no forget request"):
        Engine(make_task(data, nn.Linear(1, 2), reads=("forget",)), CPU).run([stage])


def test_a_term_is_added_to_retain_passes_only():
    plain = cross_entropy()
    retain, forget = Pass(plain, {"retain": 2}), Pass(plain, {"forget": 2})
    edit, views = Edit("e", lambda m: None), coun.Views()
    stages = [edit, Fit((retain, forget), 3)]
    kept, fit = with_term(stages, info_nce(temperature=0.1), views)
    assert kept is edit
    assert fit.epochs == 3
    assert len(fit.passes[0].objective.parts) == 2
    assert fit.passes[0].views is views
    assert fit.passes[1] is forget


def test_the_callers_generators_are_left_alone(make_task, small, dropping):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    coun.train(small, dropping, epochs=1)
    assert torch.equal(torch.rand(3), expected)


def test_a_global_seed_changes_nothing(small, dropping):
    digests = set()
    for seed in (1, 2):
        torch.manual_seed(seed)
        digests.add(weights_digest(coun.train(small, dropping, epochs=1).model))
    assert len(digests) == 1


def test_a_loss_that_is_not_finite_stops_the_run(make_task):
    objective = Objective.of(lambda step: step.outputs("retain").logits.sum() * float("nan"))
    stage = Fit((Pass(objective, {"retain": 4}),), 1)
    with pytest.raises(CounError, match="the loss became nan in epoch 1, update 1") as caught:
        Engine(make_task(numbered(8), nn.Linear(1, 2)), CPU).run([stage])
    assert "\n" not in str(caught.value)
