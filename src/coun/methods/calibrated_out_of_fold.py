"""Calibrated out-of-fold matching: the models of folds say which rows are hard, and how hard."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from coun.attacks.signals import log_odds
from coun.engine import Task, predict
from coun.methods.out_of_fold import OutOfFoldMatching
from coun.plans.matching import LOW_RATE, LowRate, of_equal_rank
from coun.plans.method import FROZEN


@dataclass(frozen=True, config=FROZEN)
class CalibratedOutOfFoldMatching(OutOfFoldMatching):
    """Match out-of-fold predictions, made as sure as a full training's (calibrated matching).

    The models of folds have fewer rows and fewer epochs than a Retrain, so they are wrong more
    often and less certain, and a model that matches them forgets too much. How good a whole
    training is on rows that it has not seen, the Original shows on held-out rows. This method
    takes from the models of folds which rows are harder than others, and from the held-out rows
    how certain a model is of a row that is harder than a given share of all rows.

    Held-out rows are a fixed half of the test rows. Every measurement of the result leaves
    them out and uses the other half only.

    Formula: the log-odds of the true class that the models of folds give to all rows are mapped, by
        rank, to those that the Original gives to held-out rows. The forget rows take their values
        from this map; they need not be like the held-out rows, only all rows together must be. The
        rest is that of `out_of_fold`, but the targets are moved before each epoch except the first,
        at a learning rate that is low enough for the epochs to show what is missed.
    Cost: it costs what `out_of_fold` costs, and one forward pass of the held-out rows; the forget
        rows have one before each epoch except the first, instead of two in all. The preparation is
        that of `out_of_fold`.
    Limits: it has the limits of `out_of_fold`. The labels of the held-out rows must be as reliable
        as those of the training rows, and their classes as frequent. Only half of the test rows
        are left to measure with.
    Source: this project. docs/results/nearest-experiments.md has what was tried.
    """

    name: ClassVar[str] = "calibrated_out_of_fold"
    source: ClassVar[str] = "this project"
    reads: ClassVar[frozenset[str]] = frozenset({"retain", "forget", "held_out"})
    corrected_epochs: ClassVar[int | None] = None

    lr: LowRate = Field(LOW_RATE)

    def expected_odds(self, task: Task, unseen: Tensor) -> Tensor:
        rows = task.held_out
        assert rows is not None, "the engine gives what `reads` names"
        task.charge(len(rows), grad=False)
        logits = predict(task.classifier, task.data, rows, with_features=False).logits
        return of_equal_rank(unseen, log_odds(logits.double(), rows.labels.cpu()))
