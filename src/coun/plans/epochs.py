"""Plans that look at the model between epochs: one stage per epoch, and what they measure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from coun.data.subsets import stratified
from coun.engine import Fit, Optimizer, Task, predict
from coun.errors import CounError
from coun.metrics import unlearn_accuracy


def one_stage_per_epoch(whole: Fit) -> Iterator[Fit]:
    """Split *whole* into one stage per epoch, so that a plan can look at the model in between.

    Each stage keeps one learning rate, that of the schedule at the middle of its epoch. Momentum
    starts anew in each, so the result is not that of *whole* to the last bit.

    >>> from coun.engine import Fit, Optimizer
    >>> whole = Fit((), 2, Optimizer(lr=0.1, schedule="cosine"), "train")
    >>> [(stage.name, round(stage.optimizer.lr, 3)) for stage in one_stage_per_epoch(whole)]
    [('train, epoch 1', 0.085), ('train, epoch 2', 0.015)]
    """
    for epoch in range(whole.epochs):
        middle = (epoch + 0.5) / whole.epochs
        phases = tuple(
            replace(
                phase,
                until_epoch=None,
                optimizer=phase.optimizer and _constant(phase.optimizer, middle),
            )
            for phase in whole.phases
            if phase.until_epoch is None or epoch < phase.until_epoch
        )
        optimizer = _constant(whole.optimizer, middle)
        name = f"{whole.name}, epoch {epoch + 1}"
        yield replace(
            whole,
            phases=phases,
            epochs=1,
            optimizer=optimizer,
            name=name,
            unaugmented_epochs=int(epoch >= whole.epochs - whole.unaugmented_epochs),
        )


def _constant(optimizer: Optimizer, progress: float) -> Optimizer:
    """Return *optimizer* with the learning rate that it has at *progress*, for good."""
    return replace(optimizer, lr=optimizer.rate(progress), schedule="constant", warmup=0.0)


def error_rate(task: Task, role: str) -> float:
    """Return the percentage of rows of *role* that the present model gets wrong, and charge it."""
    source = task.source(role)
    task.charge(len(source), grad=False)
    logits = predict(task.classifier, task.data, source).logits
    return unlearn_accuracy(logits, source.labels.cpu())


def hold_out(task: Task, share: float) -> tuple[str, str]:
    """Hold out *share* of the retain rows that have the classes of the forget rows.

    Returns: the role of the rows to train on, and the role of the rows held out.
    """
    labels, retain = task.data.train.labels.cpu(), task.indices("retain")
    candidates, count = held_out_rows(labels, retain, task.indices("forget"), share)
    held_out = candidates[stratified(labels[candidates], count, task.seeds.number("held out"))]
    rest = retain[~torch.isin(retain, held_out)]
    return task.define("retain, trained on", rest), task.define("retain, held out", held_out)


def held_out_rows(
    labels: Tensor, retain: Tensor, forget: Tensor, share: float
) -> tuple[Tensor, int]:
    """Return the retain rows that have the classes of the forget rows, and *share* of their number.

    Args: labels: (N,), of all rows; retain, forget: positions of rows.

    Raises: CounError if the share is less than one row.
    """
    candidates = retain[torch.isin(labels[retain], labels[forget])]
    count = round(share * len(candidates))
    if count == 0:
        raise CounError(
            f"scrub with rewind=true holds out {share:.0%} of the {len(candidates)} retain rows of "
            "the forgotten classes, which is less than one row; expected at least one; give "
            "reference_error instead"
        )
    return candidates, count
