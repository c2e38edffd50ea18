"""One stage an epoch, for plans that look at the model in between, and what they look at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from coun.data.examples import stratified
from coun.engine import Fit, Task, predict
from coun.errors import CounError
from coun.metrics import unlearn_accuracy


def one_stage_per_epoch(whole: Fit) -> Iterator[Fit]:
    """*whole* as a stage for each epoch, which holds the schedule's rate at the epoch's middle.

    Momentum starts anew in each, so this is not *whole* to the bit.
    """
    for epoch in range(whole.epochs):
        phases = tuple(
            replace(one, until_epoch=None)
            for one in whole.phases
            if one.until_epoch is None or epoch < one.until_epoch
        )
        rate = whole.optimizer.rate((epoch + 0.5) / whole.epochs)
        held = replace(whole.optimizer, lr=rate, schedule="constant", warmup=0.0)
        name = f"{whole.name}, epoch {epoch + 1}"
        yield replace(whole, phases=phases, epochs=1, optimizer=held, name=name)


def error(task: Task, role: str) -> float:
    """Percent of the rows of *role* that the model, as it is now, gets wrong; charged."""
    source = task.source(role)
    task.charge(len(source), grad=False)
    logits = predict(task.classifier, task.data, source).logits
    return unlearn_accuracy(logits, source.labels.cpu())


def hold_out(task: Task, share: float) -> tuple[str, str]:
    """Roles of the retain rows to train on, and of *share* of those of the forgotten classes."""
    labels, rows = task.data.train.labels.cpu(), task.rows("retain")
    like = rows[torch.isin(labels[rows], labels[task.rows("forget")])]
    count = round(share * len(like))
    if count == 0:
        raise CounError(
            f"rewind holds out {share:.0%} of the {len(like)} retain rows of the forgotten "
            "classes, which is none; expected one at least; give reference_error instead"
        )
    held = like[stratified(labels[like], count, task.seeds.number("held out"))]
    rest = rows[~torch.isin(rows, held)]
    return task.define("retain, trained on", rest), task.define("retain, held out", held)
