"""A model that answers hardly any row rightly is not said to remember the forgotten ones."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import coun
from coun.audit import RequestParts, Subject, audit, run_tests
from coun.runs import predictions

CLASS, ROWS = "a class", "rows of a class"


@pytest.fixture(scope="module")
def digits():
    return coun.load("digits", limit=600)


@pytest.fixture(scope="module")
def requests(digits):
    """A request of each kind with four models that never saw its rows."""
    of_class = digits.train.numbers[digits.train.labels == 3]
    splits = {
        CLASS: coun.Split.by_class(digits, 3),
        ROWS: coun.Split.by_index(digits, of_class[:25]),
    }
    return {
        name: (split, [coun.train(digits, "mlp", split=split, epochs=15, seed=s) for s in range(4)])
        for name, split in splits.items()
    }


@pytest.fixture(scope="module")
def original(digits):
    return coun.train(digits, "mlp", epochs=15, seed=7)


def changed(run, change):
    """*run* after *change* of the weights and the bias of its last layer."""
    run = replace(run, model=copy.deepcopy(run.model), build=None)
    with torch.no_grad():
        change(run.classifier.head)
    return run


def constant(name):
    def change(head):
        head.weight.zero_()
        head.bias.copy_(5.0 * (torch.arange(10) == name))

    return change


def uniform(head):
    head.weight.zero_()
    head.bias.zero_()


def rolled(head):
    """The classes in another order than that of the data."""
    head.weight.copy_(head.weight.roll(1, 0))
    head.bias.copy_(head.bias.roll(1, 0))


@pytest.mark.parametrize("kind", [CLASS, ROWS])
@pytest.mark.parametrize(
    "change", [uniform, constant(3), constant(7), rolled], ids=["uniform", "3", "7", "rolled"]
)
def test_constant_and_renamed_answers_are_not_memory(requests, original, kind, change):
    split, (*retrains, fourth) = requests[kind]
    verdict = audit(
        changed(fourth, change), retrains, original=original, split=split, rest=False
    ).verdict
    assert verdict.label == "over-forgotten", verdict.sentence
    assert "rows that it should have kept" in verdict.headline
    assert any("one answer to everything" in note for note in verdict.caveats)


def test_a_model_that_knows_nothing_but_the_forgotten_class_is_accused(requests, original):
    """All other classes are answered as another one."""
    split, (*retrains, _) = requests[CLASS]

    def all_but_three(head):
        order = torch.tensor([1, 2, 4, 3, 5, 6, 7, 8, 9, 0])
        head.weight.copy_(head.weight[order])
        head.bias.copy_(head.bias[order])

    verdict = audit(changed(original, all_but_three), retrains, split=split, rest=False).verdict
    assert verdict.label == "under-forgotten", verdict.sentence


def test_it_is_accused_where_test_rows_differ_by_nature_too(requests, original, digits):
    """All rows count as listed then, also those of the test that asks for the class's name."""
    split, (*retrains, _) = requests[CLASS]

    def three_or_nought(head):
        others = torch.arange(10) != 3
        head.weight[others] = 0
        head.bias[others] = 0

    def subject(run):
        return Subject("a model", predictions(run.classifier, digits, split))

    family = run_tests(
        [subject(changed(original, three_or_nought))],
        [subject(run) for run in retrains],
        RequestParts.of(digits, split),
        margin=2.0,
        input_drift=0.0,
    )
    assert family.ruined
    assert not len(family.parts.exchangeable)
    (answers,) = (test for test in family.tests if test.name == "answers")
    assert answers.found
    assert answers.directed


def test_a_retrain_of_a_class_with_another_temperature_is_not_accused(requests, original):
    split, (*retrains, fourth) = requests[CLASS]

    def flatter(head):
        head.weight.mul_(0.25)
        head.bias.mul_(0.25)

    verdict = audit(
        changed(fourth, flatter), retrains, original=original, split=split, rest=False
    ).verdict
    assert verdict.label in ("no difference found", "inconclusive", "different"), verdict.sentence


@pytest.mark.parametrize(
    "change", [uniform, constant(3), constant(7), rolled], ids=["uniform", "3", "7", "rolled"]
)
def test_without_a_retrain_a_model_that_answers_nothing_rightly_is_not_cleared(requests, change):
    """Not even as one of which nothing is remembered: no test of it could have found anything."""
    split, (*_, fourth) = requests[CLASS]
    verdict = audit(changed(fourth, change), split=split, rest=False).verdict
    assert verdict.label == "inconclusive"
    assert "one answer to everything would" in verdict.headline
    honest = audit(fourth, split=split, rest=False).verdict
    assert "ruined" not in honest.reasons


@pytest.mark.parametrize("often", [1, 20])
@pytest.mark.parametrize("name", [0, 1])
def test_one_answer_of_two_classes_is_not_memory(often, name):
    """It is right for half of the rows, or for nearly all if one class is rare."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(2, 8))

    def rows(count):
        labels = (rng.random(count) < 1 / (1 + often)).astype(int)
        return (centres[labels] + rng.normal(size=(count, 8))).astype(np.float32), labels

    def network():
        return nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 2))

    data = coun.from_arrays(*rows(600), *rows(300))
    split = coun.Split.by_index(data, data.train.numbers[data.train.labels == name][:15])
    models = [coun.train(data, network, split=split, epochs=40, seed=s, lr=0.05) for s in range(4)]

    def one_answer(head):
        head.weight.zero_()
        head.bias.copy_(5.0 * (torch.arange(2) == name))

    for change in (uniform, one_answer):
        verdict = audit(changed(models[3], change), models[:3], split=split, rest=False).verdict
        assert verdict.label in ("over-forgotten", "different", "inconclusive"), verdict.sentence
