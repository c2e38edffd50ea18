"""Held-out matching: make forget rows as uncertain as rows that no model has seen."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from scipy.optimize import brentq
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
    rank_among,
    with_log_odds,
)
from coun.plans.method import FROZEN

FEWEST = 5  # held-out rows of a class, below which those of other classes are added


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
        rank, to those for held-out rows of that class; the odds among the other classes stay. The
        ranks are those that the rows have among all rows of their class that the Original was
        trained on. The less sure it is of held-out rows than of those, the less its ranks say of a
        model that has not seen the rows: each rank is moved towards the middle, and the spread that
        the ranks of the request then lack is added in their order. The target of a row that the
        Original gets wrong is never surer than the Original. A class with fewer than five held-out
        rows borrows from classes of its size. The loss is that of `out_of_fold` (`Matching`), but
        the targets are moved before each epoch except the first, at a learning rate that is low
        enough for the epochs to show what is missed, and so that the mean probability of the true
        class is met, not the mean of its log-odds.
    Cost: one forward and one backward pass of every retain and forget row in each epoch, one
        forward pass of all rows and of the held-out rows, and one of the forget rows for each
        epoch.
    Limits: the forget rows must be like the held-out rows, as in a random request, or easier or
        harder in the Original's view as well. A wrong label that the Original has learned stays its
        answer: `class_matching` is for such rows. For a class with fewer than five held-out rows
        the targets are guesses, and too little may be forgotten. Whole classes are refused. Only
        half of the test rows are left to measure with.
    Source: this project, after ReGUn (arXiv 2603.11210), which gives all forget rows of a batch one
        mean distribution of held-out rows; a mean has no spread, which attacks see.
    """

    name: ClassVar[str] = "held_out"
    source: ClassVar[str] = "this project, after ReGUn, arXiv 2603.11210"
    reads: ClassVar[frozenset[str]] = frozenset({"retain", "forget", "held_out"})
    corrected_epochs: ClassVar[int | None] = None

    lr: LowRate = Field(LOW_RATE)
    correction: float = Field(
        1.5,
        ge=0,
        description="By this many times what the model misses in the mean, the targets are moved "
        "between epochs; 0 moves none. More than 1, because the last epochs have low rates.",
    )

    def targets(self, task: Task, retained: Tensor) -> Tensor:
        by_role = labels_by_role(task)
        labels, known = by_role["forget"], known_by_copies(task, by_role)
        assert task.held_out is not None, "the engine gives what `reads` names"
        held_labels = task.held_out.labels.cpu()
        logits = answers(task, "forget").double()
        held_logits = predict(task.classifier, task.data, task.held_out, with_features=False).logits
        task.charge(len(held_labels), grad=False)
        odds = log_odds(logits, labels)
        unseen_odds = log_odds(held_logits.double(), held_labels)
        trained = torch.cat([log_odds(retained.double(), by_role["retain"]), odds])
        trained_labels = torch.cat([by_role["retain"], labels])
        sizes = torch.bincount(trained_labels, minlength=logits.shape[1])
        ranks = torch.zeros_like(odds)
        classes = labels[~known].unique().tolist()  # type: ignore[no-untyped-call]
        for label in classes:
            rows = labels == label
            ranks[rows] = rank_among(odds[rows], trained[trained_labels == label])
        if classes:
            ranks[~known] = _ranks_if_unseen(ranks[~known], trained, unseen_odds)
        target_odds = odds.clone()
        for label in classes:
            rows = (labels == label) & ~known
            unseen = _unseen_odds(label, unseen_odds, held_labels, sizes)
            target_odds[rows] = torch.quantile(unseen, ranks[rows])
        # A row that is no longer trained on is not known better. Where the Original gets it wrong,
        # as a wrong label, a target above its own would teach the row once more.
        target_odds = torch.where(odds < 0, torch.minimum(target_odds, odds), target_odds)
        return with_log_odds(logits, labels, target_odds).float()

    def missed(self, odds: Tensor, target: Tensor) -> float:
        """Tell what to add to *odds* (n,) so that their mean probability is that of *target* (n,).

        Targets as far from 0 as those of held-out rows are met by no row in few epochs. If the
        mean of the log-odds is met all the same, too many rows are answered wrongly.
        """
        wanted = float(target.sigmoid().mean())
        low, high = (float(end) for end in (target - odds).aminmax())
        # A little farther, so that rounding leaves the solution between the ends.
        return float(
            brentq(
                lambda added: float((odds + added).sigmoid().mean()) - wanted,
                low - 1e-6,
                high + 1e-6,
            )
        )


def _ranks_if_unseen(ranks: Tensor, trained: Tensor, unseen: Tensor) -> Tensor:
    """Tell which ranks rows of the training may have among rows that a model has not seen.

    Ranks are taken as normal scores. Scores of training and of unseen rows have the correlation
    `kept`, 1 if the Original is as sure of unseen rows as of those that it was trained on, 0 if it
    is surer of each of these. So the scores shrink; what their spread lacks is added by rank.

    Args: ranks: (n,), from 0 to 1, among the rows that the model was trained on; trained, unseen:
        (k,) and (m,), log-odds of these and of unseen rows.

    Returns: (n,), in the order of *ranks*.
    """
    kept = min(1.0, 2 * float(rank_among(unseen, trained).mean()))
    scores, order = torch.special.ndtri(ranks), torch.special.ndtri(rank_among(ranks, ranks))
    spread = kept * scores.std(correction=0)
    widened = (spread**2 + 1 - kept**2).sqrt()
    moved: Tensor = torch.special.ndtr(kept * scores + (widened - spread) * order)
    return moved


def _unseen_odds(label: int, odds: Tensor, labels: Tensor, sizes: Tensor) -> Tensor:
    """Give log-odds that rows of class *label* may have for a model that has not seen them.

    They are those of its held-out rows. If these are too few, those of the classes nearest in size
    fill them up, after they were moved by how much rarer the class is, and half of the way to what
    a model says that knows the size of the class and nothing else.

    Args: odds, labels: (m,), of all held-out rows; sizes: (K,), training rows of each class.
    """
    own, others = odds[labels == label], labels != label
    missing = FEWEST - len(own)
    if missing <= 0 or not bool(others.any()):
        return own
    prior = (sizes.double().clamp(min=1) / sizes.sum()).logit()
    away = (prior[labels[others]] - prior[label]).abs()
    nearest = away <= away.sort().values[:FEWEST][-1]
    moved = odds[others][nearest] - prior[labels[others]][nearest] + prior[label]
    middles = (torch.arange(missing, dtype=torch.float64) + 0.5) / missing
    return torch.cat([own, torch.quantile((moved + prior[label]) / 2, middles)])
