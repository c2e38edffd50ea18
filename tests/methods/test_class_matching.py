"""Class matching: its targets against a loop over rows and classes."""

from __future__ import annotations

import math

import torch

import coun
from coun.methods import make
from coun.plans.matching import answers


def probabilities(run, data, rows) -> list[list[float]]:
    images = data.views.evaluate(data.train.fetch(rows))
    with torch.no_grad():
        return run.model.eval()(images).double().softmax(1).tolist()


def test_the_targets_are_a_loop_over_rows_and_classes(fitted, small, make_task) -> None:
    """Classes 3 and 5 go as a whole; of class 4 one row goes and the others stay."""
    labels = small.train.labels
    of_four = (labels == 4).nonzero()[0].tolist()
    whole = torch.isin(labels, torch.tensor([3, 5])).nonzero().flatten().tolist()
    split = coun.Split.by_index(small, whole + of_four)
    task = make_task(small, fitted.model, split, reads=("retain", "forget"))
    targets = make("class_matching").targets(task, answers(task, "retain")).exp()

    forget, retain = task.indices("forget"), task.indices("retain")
    answered = probabilities(fitted, small, retain)
    wanted = {}
    for label in (3, 4, 5):
        odds = [
            math.log(answer[label] / (sum(answer) - answer[label]))
            for answer, own in zip(answered, labels[retain].tolist(), strict=True)
            if own != label
        ]
        wanted[label] = 1 / (1 + math.exp(-sum(odds) / len(odds)))
    rows = zip(probabilities(fitted, small, forget), labels[forget].tolist(), strict=True)
    for target, (before, own) in zip(targets.tolist(), rows, strict=True):
        for label in (3, 4, 5) if own == 4 else (3, 5):
            others = sum(p for k, p in enumerate(before) if k != label)
            share = (1 - wanted[label]) / others
            before = [wanted[label] if k == label else p * share for k, p in enumerate(before)]
        torch.testing.assert_close(target, before, rtol=1e-3, atol=1e-6)
