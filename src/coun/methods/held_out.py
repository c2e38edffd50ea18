"""Held-out matching: make forget rows as uncertain as rows that no model has seen."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from coun.attacks.signals import log_odds
from coun.engine import Task, predict
from coun.plans.copies import known_by_copies
from coun.plans.matching import (
    LOW_RATE,
    LowRate,
    Matching,
    answers,
    labels_by_role,
    of_equal_rank,
    of_rank_among,
    with_log_odds,
)
from coun.plans.method import FROZEN

FEWEST = 5  # held-out rows of a class, below which those of all classes are taken
FEWEST_RANKED = 5  # forget rows for each class from which on they are ranked among themselves


@dataclass(frozen=True, config=FROZEN)
class HeldOutMatching(Matching):
    """Give forget rows the spread of confidence of held-out rows (held-out matching).

    For a request that nothing was prepared for. Rows that no model has seen show how certain a
    model may be, and the forget rows are made just as uncertain. Which forget rows are hard is
    taken from the Original, which has learned them; out-of-fold matching knows it better. A row
    with a copy among the retain rows, also one that differs a little, keeps the answers of the
    Original, because a Retrain knows it by the copy.

    Held-out rows are a fixed half of the test rows. Every measurement of the result leaves
    them out and uses the other half only.

    Formula: the Original's log-odds of the true class for the forget rows of a class are mapped, by
        rank, to those for held-out rows of that class; the odds among the other classes stay. A
        row has its rank among the forget rows of its class. In a small request, of fewer than five
        rows for each class that it names, it has its rank among all rows of the class that the
        Original was trained on, because few rows may all be easy or all be hard. The target of a
        row that the Original gets wrong is never surer than the Original. The loss is that of
        `out_of_fold` (`Matching`), but the targets are moved before each epoch except the first,
        at a learning rate that is low enough for the epochs to show what is missed.
    Cost: one forward and one backward pass of every retain and forget row in each epoch, one
        forward pass of all rows and of the held-out rows, and one of the forget rows for each
        epoch. A small request costs one more forward pass of the retain rows.
    Limits: the forget rows must be like the held-out rows, as in a random request. A wrong label
        that the Original has learned stays its answer: `class_matching` is for such rows. Of a
        class with fewer than five held-out rows too little is forgotten. Whole classes are
        refused. Only half of the test rows are left to measure with.
    Source: this project, after ReGUn (arXiv 2603.11210), which gives all forget rows of a batch one
        mean distribution of held-out rows; a mean has no spread, which attacks see.
    """

    name: ClassVar[str] = "held_out"
    source: ClassVar[str] = "this project, after ReGUn, arXiv 2603.11210"
    reads: ClassVar[frozenset[str]] = frozenset({"retain", "forget", "held_out"})
    corrected_epochs: ClassVar[int | None] = None

    lr: LowRate = Field(LOW_RATE)

    def targets(self, task: Task) -> Tensor:
        by_role = labels_by_role(task)
        labels, known = by_role["forget"], known_by_copies(task, by_role)
        assert task.held_out is not None
        held_labels = task.held_out.labels.cpu()
        forget = task.data.train.take(task.indices("forget"))
        logits, held_logits = (
            predict(task.classifier, task.data, rows).logits for rows in (forget, task.held_out)
        )
        task.charge(len(labels) + len(held_labels), grad=False)
        odds = log_odds(logits.double(), labels)
        reference = log_odds(held_logits.double(), held_labels)
        classes = labels[~known].unique().tolist()  # type: ignore[no-untyped-call]
        retained = None
        if int((~known).sum()) < FEWEST_RANKED * len(classes):
            retained = log_odds(answers(task, "retain").double(), by_role["retain"])
        target_odds = odds.clone()
        for label in classes:
            rows = (labels == label) & ~known
            unseen = reference[held_labels == label]
            unseen = unseen if len(unseen) >= FEWEST else reference
            if retained is None:
                target_odds[rows] = of_equal_rank(odds[rows], unseen)
            else:
                trained = torch.cat([retained[by_role["retain"] == label], odds[labels == label]])
                target_odds[rows] = of_rank_among(odds[rows], trained, unseen)
        # A row that is no longer trained on is not known better. Where the Original gets it wrong,
        # as a wrong label, a target above its own would teach the row once more.
        target_odds = torch.where(odds < 0, torch.minimum(target_odds, odds), target_odds)
        return with_log_odds(logits.double(), labels, target_odds).float()
