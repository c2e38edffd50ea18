"""Requests become the rows that they name."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import coun
from coun.bench.execute import requests
from coun.bench.spec.experiment import ForgetSpec
from coun.bench.spec.plan import make_plan
from coun.bench.spec.reading import parse
from coun.bench.spec.workload import data_spec


def none(_):
    raise AssertionError("no scores asked for")


@pytest.fixture
def world(tiny):
    return data_spec(tiny, tiny.workload[0])


def random(fraction: float, seed: int = 3, draw: str = "torch") -> ForgetSpec:
    return ForgetSpec({"kind": "random", "fraction": fraction}, draw, seed)


@pytest.mark.parametrize("draw", ["torch", "numpy"])
def test_stages_grow_and_never_show_a_removed_row_again(world, draw) -> None:
    data = world.load()
    first, both = (requests.split(random(f, draw=draw), data, world, none) for f in (0.1, 0.2))
    rest, new = requests.without_earlier(both, first, data)
    assert set(first.forget.tolist()) < set(both.forget.tolist())
    assert set(new.forget.tolist()) == set(both.forget.tolist()) - set(first.forget.tolist())
    assert not set(rest.train.index.tolist()) & set(first.forget.tolist())
    assert torch.equal(new.retain, both.retain)


def test_a_salun_draw_is_numpys(world) -> None:
    data = world.load()
    found = requests.split(random(0.1, 5, "numpy"), data, world, none)
    wanted = np.random.RandomState(4).choice(200, 20, replace=False)
    assert set(found.forget.tolist()) == set(data.train.index[wanted].tolist())


def test_a_sequential_request_shares_its_first_stage_with_a_random_one(tiny_text) -> None:
    one = make_plan(parse(tiny_text()))
    many = make_plan(parse(tiny_text(scenario='kind = "sequential"\nstages = 3')))
    assert {e.experiment.key for e in one.models} <= {e.experiment.key for e in many.models}
    chain = [e for e in many.models if e.row == "CoUn" and e.seed == 0]
    assert [e.experiment.start.key for e in chain[1:]] == [e.experiment.key for e in chain[:-1]]


def test_rows_by_score_take_the_ends_the_middle_and_a_third_of_each() -> None:
    score = np.arange(30)[::-1].copy()
    score[:3] = 29  # ties
    assert set(requests._by_score(score, 6, "high")) == set(range(6))
    assert set(requests._by_score(score, 6, "low")) == set(range(24, 30))
    assert set(requests._by_score(score, 6, "middle")) == set(range(12, 18))
    mix = set(requests._by_score(score, 6, "mix"))
    assert len(mix) == 6
    assert {28, 29, 14, 15} < mix


def test_self_influence_is_the_squared_gradient_of_the_head(small, original) -> None:
    found = requests.self_influence(original, small)
    model, head = original.model, original.classifier.head
    for row in (0, 7):
        x = small.views.evaluate(small.train.fetch(torch.tensor([row])))
        loss = torch.nn.functional.cross_entropy(model(x), small.train.labels[row : row + 1])
        grads = torch.autograd.grad(loss, [head.weight, head.bias])
        assert found[row] == pytest.approx(sum(float(g.square().sum()) for g in grads), rel=1e-3)


def test_memorisation_counts_models_with_and_without(small) -> None:
    halves = [coun.Split.random(small, 0.5, seed=s) for s in range(2)]
    trained = [(coun.train(small, "mlp", split=h, epochs=2), h) for h in halves]
    found = requests.memorisation(trained, small)
    right = [
        r.model(small.views.evaluate(small.train.fetch(torch.arange(200)))).argmax(1)
        == small.train.labels
        for r, _ in trained
    ]
    for row in range(200):
        had = [int(small.train.index[row]) in h.retain.tolist() for h in halves]
        hits = {k: [float(right[m][row]) for m in range(2) if had[m] is k] for k in (True, False)}
        wanted = np.mean(hits[True]) - np.mean(hits[False]) if hits[True] and hits[False] else 0.0
        assert found[row] == pytest.approx(wanted)
    assert len(set(found)) > 1


def test_groups_merge_classes_and_a_subclass_names_an_old_one(tiny_text) -> None:
    even = ", ".join(f'"{n}"' for n in range(0, 10, 2))
    odd = ", ".join(f'"{n}"' for n in range(1, 10, 2))
    text = tiny_text(scenario='kind = "subclass"\nname = "8"').replace(
        "test_limit = 100", f"test_limit = 100, groups = {{ even = [{even}], odd = [{odd}] }}"
    )
    config = parse(text)
    where = data_spec(config, config.workload[0])
    data = where.load()
    assert data.classes == ("even", "odd")
    found = requests.split(ForgetSpec({"kind": "subclass", "name": "8"}), data, where, none)
    fine = coun.load("digits", limit=200)
    assert set(found.forget.tolist()) == set(fine.train.index[fine.train.labels == 8].tolist())
    assert found.forget_class is None
