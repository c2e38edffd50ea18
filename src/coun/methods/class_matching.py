"""Class matching: give the rows of a forgotten class the Original's second thoughts."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from coun.attacks.signals import log_odds
from coun.engine import Task
from coun.plans.matching import Matching, answers, labels_by_role, with_log_odds
from coun.plans.method import FROZEN


@dataclass(frozen=True, config=FROZEN)
class ClassMatching(Matching):
    """Match the Original's odds among the other classes for the rows of a forgotten class.

    Of a class that it never saw, a Retrain is known to say two things: a row is not of this
    class, and among the other classes it goes to those that it resembles, as the Original's
    second thoughts do. These are the targets of the forget rows. Retain rows are in the same
    batches and keep their answers, so that accuracy on the other classes stays.

    Formula: the log-odds of the forgotten class become the mean of those that the Original gives
        this class for retain rows of other classes; the odds among the other classes stay. The
        loss is that of `out_of_fold` (`Matching`).
    Cost: one forward and one backward pass of every retain and forget row in each epoch, one
        forward pass of all rows, and two of the forget rows.
    Limits: meant for whole classes, and for subclasses whose rows a Retrain takes for other
        classes. Where it still takes them for their class, because the rest of the class resembles
        them, too much is forgotten. Rows of other requests end with a probability of their class
        near 0, which no Retrain gives them, unless their labels are wrong.
    Source: this project; the target is that of DELETE (Zhou et al., CVPR 2025), which reads no
        retain rows, with a finite probability of the forgotten class.
    """

    name: ClassVar[str] = "class_matching"
    source: ClassVar[str] = "this project, after DELETE, Zhou et al., CVPR 2025"
    fits_whole_classes: ClassVar[bool] = True

    def targets(self, task: Task, retained: Tensor) -> Tensor:
        labels = labels_by_role(task)
        target = answers(task, "forget").double()
        for label in sorted(set(labels["forget"].tolist())):
            others = retained[labels["retain"] != label].double()
            odds = log_odds(others, torch.full((len(others),), label)).mean().expand(len(target))
            changed = with_log_odds(target, torch.full((len(target),), label), odds)
            # Nothing goes to a class that is forgotten as a whole; of others, only the named rows.
            rows = (labels["forget"] == label) | ~(labels["retain"] == label).any()
            target = torch.where(rows[:, None], changed, target)
        return target.float()
