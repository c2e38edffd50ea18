"""A plan made for a subset of the rows, run by an engine that knows all rows."""

from __future__ import annotations

import pytest
import torch

import coun
from coun.engine import Compute, Edit, Engine, Fit, Phase, for_subset
from coun.objectives import Objective


def test_phases_read_the_rows_of_the_part_and_the_task_keeps_its_own(
    small, split, make_task, original
):
    task = make_task(small, original.model, split, reads=("retain", "forget"))
    rows = task.indices("forget")[5:9]
    part = task.with_rows(forget=rows)
    assert torch.equal(part.indices("forget"), rows)
    assert len(task.indices("forget")) == 30
    seen = {"a": set(), "retain": set(), "forget": set()}

    def term(step):
        for role in seen:
            seen[role].update(step.slots(role).tolist())
        return sum(step.outputs(role).logits.sum() for role in seen) * 0

    # "a" draws from a role that only the part knows.
    some = part.define("some", torch.cat([rows[:1], task.indices("retain")[:2]]))
    draws = {"forget": 2, "retain": 4, "a": 3}
    phase = Phase(Objective.of(term), draws, roles={"a": some})
    stages = [Edit("e", lambda m: None), Fit((phase,), 1)]
    edit, fit = for_subset(stages, part, task, "part 2")
    assert (edit.name, fit.name) == ("e, part 2", "train, part 2")
    names = fit.phases[0].roles
    assert names == {"forget": "forget, part 2", "retain": "retain", "a": "some, part 2"}
    assert torch.equal(task.indices(names["forget"]), rows)
    Engine(task, Compute(torch.device("cpu"), "fp32")).run([edit, fit])
    assert seen["forget"] == set(range(4))
    assert seen["a"] == set(range(3))
    assert torch.equal(task.indices(names["a"]), part.indices("some"))


def test_the_cost_of_the_part_is_charged(small, split, make_task, original):
    task = make_task(small, original.model, split, reads=("retain", "forget"))
    task.with_rows(forget=task.indices("forget")[:3]).charge(3, grad=False)
    assert task.cost.forward_images == 3


def test_a_part_may_not_define_rows_outside_it(small, split, make_task, original):
    task = make_task(small, original.model, split, reads=("forget",))
    rows = task.indices("forget")
    with pytest.raises(coun.CounError, match="does not declare"):
        task.with_rows(forget=rows[:3]).define("more", rows[3:5])
