"""Typed requests choose the rows that version 0.1 and its bench chose."""

import numpy as np
import pytest
import torch

import coun
from coun.data import Split
from coun.data.requests import (
    Class,
    Listed,
    Memorised,
    ModelPredictions,
    Random,
    Request,
    Sequential,
    Subclass,
    WorstCase,
    kinds,
    parse,
)


def test_every_kind_is_found_by_itself():
    names = {"random", "class", "listed", "subclass", "memorised", "worst_case", "sequential"}
    assert names <= set(kinds())
    assert all(issubclass(kind, Request) for kind in kinds().values())


@pytest.mark.parametrize(
    "request_",
    [
        Random(fraction=0.3, seed=4),
        Class(name="3"),
        Listed(rows=(4, 2)),
        Listed(ids=("4", "2")),
        Subclass(name="maple", column="fine_label"),
        Memorised(level="mix"),
        WorstCase(fraction=0.2),
        Sequential(stages=3),
    ],
)
def test_records_are_read_back(request_):
    assert parse(request_.model_dump(mode="json")) == request_
    assert request_.describe()


def test_spellings_of_bench_configs_are_read():
    assert parse({"kind": "memorisation", "fraction": 0.2}) == Memorised(fraction=0.2)
    assert parse({"kind": "worst"}) == WorstCase()


def test_bad_records_are_refused(digits, refused):
    with refused("forget id 'a' is named 2 times"):
        Listed(ids=("a", "a")).choose(digits)
    with refused("forget row number '3' is named 2 times"):
        Listed(rows=(3, 3)).choose(digits)
    with refused("row number '0' is named 3 times", "data.train.numbers[mask]"):
        Split.by_index(digits, [0, 1, 0, 0])
    for mask in (np.zeros(9, bool), torch.zeros(9, dtype=torch.bool)):
        with refused("expected integers; of a mask over the training rows, pass"):
            Split.by_index(digits, mask)
    with refused(f"id '{'9' * 60} ... {'9' * 20}' names no row"):
        Listed(ids=("9" * 5000,)).choose(digits)
    with refused("kind of forget request 'randon'", "did you mean 'random'"):
        parse({"kind": "randon"})
    with refused("random request: fraction", "less than 1"):
        parse({"kind": "random", "fraction": 2})
    with refused("unknown setting of a random request 'fractoin'", "did you mean 'fraction'"):
        parse({"kind": "random", "fractoin": 0.1})
    with refused("unknown setting of a class request 'classes'; known: ", "name"):
        parse({"kind": "class", "classes": ["3"]})
    with refused("a class request needs the setting 'name'"):
        parse({"kind": "class"})
    with refused("sequential request", "leave no row"):
        parse({"kind": "sequential", "fraction": 0.5, "stages": 2})


def test_random_draws_are_the_published_ones(small):
    order = torch.randperm(200, generator=torch.Generator().manual_seed(3))[:20]
    rows = Split.random(small, 0.1, seed=3).rows(small, "forget")
    assert rows.tolist() == sorted(order.tolist())
    state = np.random.RandomState(2).choice(200, 20, replace=False)
    salun = Split.of(small, Random(fraction=0.1, draw="salun"), seed=3)
    assert salun.rows(small, "forget").tolist() == sorted(state.tolist())
    assert salun.seed == 3


def test_stages_grow_and_leave_earlier_rows_out(small):
    stages = Sequential(fraction=0.1, stages=3).in_stages()
    splits = [Split.of(small, stages[0], seed=1)]
    for stage in stages[1:]:
        splits.append(Split.of(small, stage, seed=1, earlier=splits[-1]))
    assert [len(split.forget) for split in splits] == [20, 40, 60]
    assert [len(split.new) for split in splits] == [20, 20, 20]
    assert splits[2].digest == Split.random(small, 0.3, seed=1).digest


def test_scores_choose_high_middle_low_and_a_mix(small):
    scores = torch.linspace(0, 1, 200)[torch.randperm(200)].double().numpy()
    order = np.argsort(-scores)
    expected = {
        "high": order[:20],
        "middle": order[90:110],
        "low": order[-20:],
        "mix": np.r_[order[:7], order[96:103], order[-6:]],
    }
    for level, rows in expected.items():
        mask = Memorised(fraction=0.1, level=level).choose(small, scores=scores)
        assert mask.nonzero().flatten().tolist() == sorted(rows.tolist())


def test_scores_are_needed_and_fit_the_rows(small, refused):
    with refused("memorised request needs a score"):
        Split.of(small, Memorised())
    with refused("shape (3,)", "(200,)"):
        Split.of(small, Memorised(), scores=[1, 2, 3])
    assert Memorised().half_models == 8
    assert WorstCase().needs_original


def test_scored_requests_choose_among_the_rows_that_remain(small):
    scores = np.arange(200.0)
    first = Split.of(small, WorstCase(fraction=0.1), scores=scores)
    second = Split.of(small, WorstCase(fraction=0.1), scores=scores, earlier=first)
    assert second.rows(small, "forget").tolist() == list(range(162, 180))


def predict(small, count):
    generator = torch.Generator().manual_seed(0)
    return [
        ModelPredictions(
            torch.randn(200, 10, generator=generator),
            torch.randn(200, 5, generator=generator),
            torch.rand(200, generator=generator) < 0.5,
        )
        for _ in range(count)
    ]


def test_memorisation_is_the_difference_of_two_shares(small):
    models = predict(small, 3)
    scores = Memorised().score(models, small)
    for row in range(0, 200, 17):
        hits = [int(m.logits[row].argmax()) == int(small.train.labels[row]) for m in models]
        had = [bool(m.trained_on[row]) for m in models]
        within = [hit for hit, has in zip(hits, had, strict=True) if has]
        without = [hit for hit, has in zip(hits, had, strict=True) if not has]
        expected = np.mean(within) - np.mean(without) if within and without else 0
        assert scores[row] == pytest.approx(expected)


def test_influence_is_the_squared_gradient_of_the_last_layer(small):
    (model,) = predict(small, 1)
    layer = torch.nn.Linear(5, 10).double()
    with torch.no_grad():
        features = model.features.double()
    scores = WorstCase().score([model._replace(logits=layer(features).detach())], small)
    for row in (0, 50, 199):
        layer.zero_grad()
        loss = torch.nn.functional.cross_entropy(
            layer(features[row : row + 1]), small.train.labels[row : row + 1]
        )
        loss.backward()
        norm = layer.weight.grad.square().sum() + layer.bias.grad.square().sum()
        assert scores[row] == pytest.approx(float(norm))


def test_a_subclass_needs_finer_classes(small, digits, refused):
    from dataclasses import replace

    with refused("second label column"):
        Split.of(small, Subclass(name="3"))
    with refused("digits has no second label column"):
        Split.of(coun.load("digits", limit=50), Subclass(name="3", column="fine"))
    halves = replace(
        small,
        train=replace(small.train, labels=small.train.labels // 5),
        test=replace(small.test, labels=small.test.labels // 5),
        classes=("low", "high"),
        finer=lambda: digits,
    )
    split = Split.of(halves, Subclass(name="3"))
    assert small.train.labels[split.rows(small, "forget")].unique().tolist() == [3]
    assert split.content_kind == "listed"
    assert coun.Split.by_class(halves, "low").content_kind == "class"
