"""Out-of-fold matching: give forget rows the predictions of models that never saw them."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from coun.attacks.signals import log_odds
from coun.engine import Task
from coun.plans.copies import known_by_copies
from coun.plans.matching import (
    ROLES,
    Matching,
    answers,
    averaged,
    labels_by_role,
    with_log_odds,
)
from coun.plans.method import FROZEN


@dataclass(frozen=True, config=FROZEN)
class OutOfFoldMatching(Matching):
    """Match what models that never saw the forget rows predict for them (out-of-fold matching).

    Cross-validation, done once before any request (`coun prepare`), says of every row what a
    model predicts that has not seen it. The method fine-tunes on both sets in one batch, with
    these predictions as targets of forget rows. No Retrain of the request is needed to choose
    a setting or to stop in time.

    The target of a row is the mean of the log-probabilities of all repeats. Because the mean
    of several models is less extreme than one model, the log-odds of the true class are then
    mapped, by rank, to those of the single repeats.

    The odds among the other classes are those of the folds and, with half their weight, those of
    the Original. It has learned the label of a forget row, which says nothing of the other
    classes; but it shares all retain rows with a Retrain, where the models of folds have fewer.
    A row with a copy among the retain rows, also one that differs a little, keeps the answers of
    the Original, because a Retrain knows it by the copy.

    Formula: L = CE(retain) + retain_weight * D(retain, before) + weight * D(forget, target), where
        D = H + 2 KL, and H is the Huber loss of the log-odds of the true class (`Matching`).
        Before each of the last two epochs the log-odds of all targets are moved by what the
        model misses in the mean.
    Cost: one forward and one backward pass of every retain and forget row in each epoch, one
        forward pass of all rows, and two of the forget rows. The preparation costs some trainings,
        once for all requests, and is stated apart.
    Limits: the models of folds saw rows like the forgotten ones. Whole classes are refused, and for
        clusters of similar rows the targets are too well informed, unless the cluster was one group
        of the preparation. The models of folds also learned from rows that were forgotten since.
    Source: this project; it is oracle matching (Georgiev et al., ICLR 2025, arXiv 2410.23232) with
        cross-validation in the place of Retrains. With two folds, repeated, the models of folds are
        a pool of models on random halves (subset oracles). docs/results/nearest-experiments.md has
        what was tried.
    """

    name: ClassVar[str] = "out_of_fold"
    source: ClassVar[str] = "this project, after oracle matching, Georgiev et al., ICLR 2025"
    needs_out_of_fold: ClassVar[bool] = True

    original_share: float = Field(
        0.5,
        ge=0,
        description="Weight of the Original's log-probabilities in the odds of the other classes.",
    )

    def targets(self, task: Task, retained: Tensor) -> Tensor:
        labels = labels_by_role(task)
        # Ranks are taken among all rows, because the forget rows may be few.
        predictions = torch.cat([task.unseen_predictions(role) for role in ROLES], 1)
        all_labels = torch.cat([labels[role] for role in ROLES])
        unseen = averaged(predictions, all_labels).double()
        odds = self.expected_odds(task, log_odds(unseen, all_labels))
        before = answers(task, "forget")
        forgotten = slice(len(labels["retain"]), None)
        mixed = unseen[forgotten] + self.original_share * before
        targets = with_log_odds(mixed, labels["forget"], odds[forgotten]).float()
        return torch.where(known_by_copies(task, labels)[:, None], before, targets)

    def expected_odds(self, task: Task, unseen: Tensor) -> Tensor:
        """Compute a Retrain's log-odds of the true class from those of the models of folds.

        Args: unseen: (n,), of the retain rows and then of the forget rows.
        """
        return unseen
