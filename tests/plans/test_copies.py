"""Which forget rows have copies among the retain rows, beside a search by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import coun
from coun.engine import Task
from coun.methods import make
from coun.metrics import margins
from coun.plans.copies import known_by_copies
from coun.plans.matching import answers, labels_by_role
from coun.seeds import Seeds

READS = frozenset({"retain", "forget", "held_out"})
CHANGE = 0.1  # of the standard deviation of a column


def table(*, units: float = 2.0, doubled: bool = False) -> coun.Data:
    """300 rows of numbers; rows 100 to 104 are nearly rows 0 to 4, the last with another label.

    Args:
        units: the columns have deviations of 10 to the power of minus this to plus this.
        doubled: whether rows 200 to 299 are nearly rows 100 to 199, too.
    """
    rng = np.random.default_rng(0)
    scale = 10 ** np.linspace(-units, units, 12)
    x, y = rng.normal(size=(360, 12)), rng.integers(0, 3, 360)
    change = CHANGE * rng.normal(size=(100, 12))
    x[100:105], y[100:105] = x[:5] + change[:5], y[:5]
    y[104] = (y[104] + 1) % 3
    if doubled:
        x[200:300], y[200:300] = x[100:200] + change, y[100:200]
    x = (x * scale).astype(np.float32)
    constant = np.full((360, 1), 1e3 * units, np.float32)  # which must not drown the others
    x = np.concatenate([x, constant], 1)
    return coun.from_arrays(x[:300], y[:300], x[300:], y[300:])


def task_of(data: coun.Data, split: coun.Split, run: coun.Run, *, held_out: bool = True) -> Task:
    task = Task(data, split, Seeds(0), READS, run.classifier, None, torch.device("cpu"))
    if held_out:
        task.held_out = data.test.take(split.calibration_rows(data))
    return task


@pytest.mark.parametrize("held_out", [True, False])
def test_copies_that_differ_a_little_are_found(held_out: bool) -> None:
    data = table()
    split, run = coun.Split.by_index(data, range(20)), coun.train(data, "mlp", epochs=1, lr=1e-9)
    task = task_of(data, split, run, held_out=held_out)
    known = known_by_copies(task, labels_by_role(task))
    assert known.nonzero()[:, 0].tolist() == [0, 1, 2, 3]  # the copy of row 4 has another label


def test_held_out_rows_show_the_usual_distance_where_most_retain_rows_have_copies() -> None:
    data = table(doubled=True)
    rows = [*range(5), *range(5, 20), *range(200, 210)]
    split, run = coun.Split.by_index(data, rows), coun.train(data, "mlp", epochs=1, lr=1e-9)
    task = task_of(data, split, run)
    known = task.data.train.numbers[task.indices("forget")][
        known_by_copies(task, labels_by_role(task))
    ]
    assert known.tolist() == [0, 1, 2, 3, *range(200, 210)]


def test_ordinary_rows_have_no_copies(small, original, split) -> None:
    task = task_of(small, split, original)
    assert not known_by_copies(task, labels_by_role(task)).any()


def test_texts_have_exact_copies_only() -> None:
    rng = np.random.default_rng(0)
    ids, labels = rng.integers(2, 50, (80, 6)), rng.integers(0, 2, 80)
    ids[40], labels[40] = ids[0], labels[0]
    ids[41], labels[41] = ids[1], labels[1]
    ids[41, 0] += 1
    data = coun.from_arrays(ids[:60], labels[:60], ids[60:], labels[60:])
    split, run = coun.Split.by_index(data, range(10)), coun.train(data, "text", epochs=1)
    task = task_of(data, split, run)
    assert known_by_copies(task, labels_by_role(task)).nonzero()[:, 0].tolist() == [0]


def test_a_model_is_made_uncertain_only_of_rows_without_copies() -> None:
    """Held-out matching leaves rows with copies their certainty, as a Retrain has it."""
    data = table(units=0)
    recipe = {"epochs": 30, "lr": 0.05, "batch_size": 32}
    original = coun.train(data, "mlp", **recipe)
    split = coun.Split.by_index(data, range(20))
    run = coun.unlearn(original, split, "held_out", epochs=6, batch_size=32)
    retrain = coun.train(data, "mlp", split=split, seed=1, **recipe)

    def right(model: torch.nn.Module) -> list[bool]:
        with torch.no_grad():
            logits = model.eval()(data.views.evaluate(data.train.fetch(torch.arange(20))))
        return (logits.argmax(1) == data.train.labels[:20]).tolist()

    assert right(original.model) == [True] * 20
    assert right(retrain.model)[:4] == right(run.model)[:4] == [True] * 4
    assert sum(right(run.model)[4:]) < 16

    task = task_of(data, split, original)
    target = make("held_out").targets(task, answers(task, "retain"))
    with torch.no_grad():
        before = original.model.eval()(data.views.evaluate(data.train.fetch(torch.arange(20))))
    labels = data.train.labels[:20]
    moved = np.abs(margins(target, labels) - margins(before, labels))
    assert (moved[:4] < 1e-3).all()
    assert moved[4:].max() > 1
