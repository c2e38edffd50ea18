"""One stage per epoch, and what a plan measures in between."""

from __future__ import annotations

import pytest
import torch

from coun import CounError, Split
from coun.engine import Fit, Optimizer, Phase
from coun.objectives import cross_entropy
from coun.plans.epochs import error_rate, hold_out, one_stage_per_epoch


def test_each_epoch_has_its_phases_and_its_learning_rate():
    first = Phase(cross_entropy("forget"), {"forget": 8}, until_epoch=2)
    second = Phase(cross_entropy("retain"), {"retain": 8})
    adam = Optimizer("adamw", 0.1, schedule="cosine", lr_floor=0.01)
    whole = Fit((first, second), 4, adam, "x", unaugmented_epochs=1)
    stages = list(one_stage_per_epoch(whole))
    assert [s.unaugmented_epochs for s in stages] == [0, 0, 0, 1]
    assert [len(s.phases) for s in stages] == [2, 2, 1, 1]
    assert all(s.epochs == 1 and p.until_epoch is None for s in stages for p in s.phases)
    for number, stage in enumerate(stages):
        middle = adam.rate((number + 0.5) / 4)
        assert {stage.optimizer.rate(x) for x in (0.0, 0.3, 0.9)} == {middle}
        assert stage.optimizer.kind == "adamw"
    assert [s.name for s in stages] == [f"x, epoch {n}" for n in (1, 2, 3, 4)]


def test_the_error_is_the_share_of_wrong_rows(small, split, make_task, original):
    task = make_task(small, original.model, split, reads=("forget",))
    task.flops = 1.0
    rows = split.rows(small, "forget").tolist()
    wrong = 0
    with torch.no_grad():
        for row in rows:
            x = small.views.evaluate(small.train.images[row : row + 1])
            wrong += int(original.model(x).argmax() != small.train.labels[row])
    assert error_rate(task, "forget") == pytest.approx(100 * wrong / len(rows))
    assert task.cost.flops == len(rows)


def test_held_out_rows_are_of_the_forgotten_classes_and_not_trained_on(small, make_task, original):
    labels = small.train.labels
    forget = torch.cat([(labels == c).nonzero().flatten()[:3] for c in (2, 5)])
    split = Split.by_index(small, small.train.index[forget])
    task = make_task(small, original.model, split, reads=("retain", "forget"))
    rest, held = (task.indices(role) for role in hold_out(task, 0.5))
    assert sorted(torch.cat([rest, held]).tolist()) == task.indices("retain").tolist()
    retained = labels[task.indices("retain")]
    for c in range(10):
        expected = int((retained == c).sum()) / 2 if c in (2, 5) else 0
        assert abs(int((labels[held] == c).sum()) - expected) <= 0.5


def test_a_class_without_retain_rows_cannot_be_held_out(small, make_task, original):
    task = make_task(small, original.model, Split.by_class(small, "3"), reads=("retain", "forget"))
    with pytest.raises(CounError, match="reference_error") as caught:
        hold_out(task, 0.5)
    assert "\n" not in str(caught.value)
