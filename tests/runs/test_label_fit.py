"""Whether the labels of forget rows fit: wrong ones are seen, and right ones are not suspected."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

import coun
from coun.data import OutOfFold
from coun.runs.label_fit import label_fit


@pytest.fixture
def mistaken(digits) -> Callable[..., tuple[coun.Data, coun.Split]]:
    """400 digits, of which the first rows are to be forgotten; some of these have wrong labels."""

    def make(forgotten: int, wrong: int) -> tuple[coun.Data, coun.Split]:
        x = torch.cat([part.fetch(torch.arange(len(part))) for part in (digits.train, digits.test)])
        y = torch.cat([digits.train.labels, digits.test.labels])
        order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))[:700]
        x, y = x[order], y[order].clone()
        y[:wrong] = (y[:wrong] + 1 + torch.arange(wrong) % 9) % 10
        data = coun.from_arrays(x[:400], y[:400], x[400:], y[400:])
        return data, coun.Split.by_index(data, range(forgotten))

    return make


def undecided(data: coun.Data) -> coun.Run:
    """A model that says class 0 of everything, so that the neighbours decide."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    nn.init.zeros_(net[1].weight)
    nn.init.zeros_(net[1].bias)
    return coun.Run.from_weights(net, data)


@pytest.mark.parametrize(
    ("forgotten", "wrong", "expected"),
    [
        (40, 0, "usual"),
        (1, 0, "usual"),
        (1, 1, "unusual"),
        (5, 5, "wrong"),
        (40, 40, "wrong"),
        (40, 12, "unusual"),
    ],
)
def test_neighbours_show_labels_that_no_model_has_learned_by_heart(
    mistaken, forgotten, wrong, expected
):
    data, split = mistaken(forgotten, wrong)
    assert label_fit(undecided(data), split) == expected


@pytest.mark.parametrize(("classes", "tested", "share"), [(50, 100, 0.3), (3, 20, 0.5)])
def test_rows_drawn_at_random_fit_however_few_held_out_rows_there_are(classes, tested, share):
    """Forget and held-out rows are of one source, so that 1 request in 100 may be suspected."""
    generator = torch.Generator().manual_seed(0)
    suspected = 0
    for seed in range(30):
        centres = 0.6 * torch.randn(classes, 16, generator=generator)
        labels = [torch.arange(n) % classes for n in (500, tested)]
        x = [centres[y] + torch.randn(len(y), 16, generator=generator) for y in labels]
        data = coun.from_arrays(x[0], labels[0], x[1], labels[1])
        net = nn.Linear(16, classes)
        nn.init.zeros_(net.weight)
        run = coun.Run.from_weights(nn.Sequential(net), data)
        suspected += label_fit(run, coun.Split.random(data, share, seed=seed)) != "usual"
    assert suspected <= 2  # of 30; more have a probability of 0.003


def test_a_model_that_has_not_learned_the_labels_shows_them_too():
    """The inputs say nothing, but the model is right on all rows except those to forget."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(300) % 3
    x = torch.randn(600, 6, generator=generator)
    x[:, :3] = 1e-3 * torch.nn.functional.one_hot(torch.cat([labels, labels]), 3)
    wrong = torch.cat([(labels[:30] + 1) % 3, labels[30:]])
    data = coun.from_arrays(x[:300], wrong, x[300:], labels)
    reader = nn.Linear(6, 3)
    with torch.no_grad():
        reader.weight.copy_(torch.eye(3, 6))
        reader.bias.zero_()
    run = coun.Run.from_weights(nn.Sequential(reader), data)
    assert label_fit(run, coun.Split.by_index(data, range(30))) == "wrong"
    assert label_fit(run, coun.Split.by_index(data, range(30, 60))) == "usual"


def test_auto_does_not_teach_wrong_labels_once_more(mistaken):
    data, split = mistaken(8, 8)
    original = coun.train(data, "mlp", epochs=10, batch_size=64)
    run = coun.unlearn(original, split, "auto")
    assert run.record.method.name == "class_matching"
    assert "labels of the forget rows look wrong" in run.record.chosen_because
    x, y = data.views.evaluate(data.train.fetch(torch.arange(8))), data.train.labels[:8]
    with torch.no_grad():
        assert not (run.model(x).argmax(1) == y).any()


@pytest.mark.parametrize(
    ("as_labelled", "expected"), [(3, "out_of_fold"), (4, "class_matching"), (8, "class_matching")]
)
def test_auto_asks_the_models_of_folds_whether_labels_look_wrong(mistaken, as_labelled, expected):
    """Where they learned the labels of most of the eight rows, they have no targets for them."""
    data, split = mistaken(8, 8)
    original = coun.train(data, "mlp", epochs=10, batch_size=64)
    guesses = data.train.labels.clone()
    guesses[as_labelled:8] = (guesses[as_labelled:8] + 1) % 10
    table = nn.functional.one_hot(guesses, 10).add(0.01).log().log_softmax(1)[None]
    prepared = replace(original, out_of_fold=OutOfFold(data.train.ids, table, data.classes))
    assert coun.unlearn(prepared, split, "auto", epochs=1).record.method.name == expected


@pytest.mark.parametrize(("wrong", "said"), [(30, "look wrong"), (12, "fit less often"), (0, None)])
def test_a_method_by_name_warns_of_labels_that_it_would_teach_once_more(
    mistaken, wrong, said, caplog
):
    data, split = mistaken(30, wrong)
    original = coun.train(data, "mlp", epochs=5)
    coun.unlearn(original, split, "held_out", epochs=1)
    warnings = [r.getMessage() for r in caplog.records if "labels of the forget" in r.getMessage()]
    assert [said in text for text in warnings] == ([True] if said else [])
    caplog.clear()
    coun.unlearn(original, split, "class_matching", epochs=1)
    assert "labels of the forget" not in caplog.text


@pytest.mark.parametrize("rows", [0, 1])
def test_without_held_out_rows_nothing_is_asked(mistaken, rows):
    data, split = mistaken(40, 40)
    left = coun.Split.leaving_out(split, data.test.numbers[rows:])
    assert label_fit(undecided(data), left) == "usual"
