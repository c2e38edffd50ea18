"""ReGUn: forget rows are to be predicted as held-out rows of their classes are, on average."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from coun.data import Data, Split
from coun.engine import Stage, Task, predict
from coun.models import Classifier
from coun.objectives import BatchContext, Objective, cross_entropy
from coun.plans.matching import refuse_whole_classes
from coun.plans.method import FROZEN, LearningRate, Positive, RetainEpochs, Schedule
from coun.plans.two_losses import TwoLosses


@dataclass(frozen=True, config=FROZEN)
class ReGUn(TwoLosses):
    """Pull every forget row to the mean prediction for held-out rows of its batch (ReGUn).

    What the Original predicts for held-out rows shows how a model treats rows that it never saw.
    Every forget row is pulled to the mean of these predictions over the classes of its batch.
    Held-out rows are a fixed half of the test rows, which every measurement of the result leaves
    out.

    Formula: L = (1 - weight) * CE(retain) + weight * KL(q || model) on forget rows, where q is the
        mean of the Original's predictions for held-out rows with the classes of the forget batch,
        in the same proportions.
    Cost: one forward and one backward pass of every retain row in each epoch, and of one forget
        batch in each step; one forward pass of the held-out rows.
    Limits: the target is one distribution for a whole batch and has no spread: rows that a Retrain
        would be sure of and rows that it would get wrong are pulled to the same place, which
        attacks and row measures see. `held_out` gives each row a target of its own. Whole classes
        are refused, because the Original knows them. It needs the forget rows and held-out rows.
    Source: Mirlach, Laguna, Vogt, "Reference-Guided Machine Unlearning" (arXiv 2603.11210): weights
        0.5 and 0.5, SGD at 0.01, 10 epochs.
    Differences: the authors' code was not available, so that this follows the text of the paper.
        There q is the mean over a sample of held-out rows that is drawn for each batch; here it is
        the expectation of that mean.
    """

    name: ClassVar[str] = "regun"
    source: ClassVar[str] = "ReGUn, Mirlach et al., arXiv 2603.11210"
    reads: ClassVar[frozenset[str]] = frozenset({"retain", "forget", "held_out"})

    epochs: RetainEpochs = Field(10)
    lr: LearningRate = Field(0.01)
    schedule: Schedule = Field("constant")
    weight: float = Field(0.5, ge=0, lt=1, description="Weight of the forget loss.")
    forget_batch_size: Positive | None = Field(
        None, description="Forget rows per step. Default: batch_size."
    )

    def check(self, classifier: Classifier, data: Data, split: Split | None) -> None:
        super().check(classifier, data, split)
        refuse_whole_classes(data, split)

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        _, size = self.budget()
        assert task.held_out is not None
        held_out, classes = task.held_out, len(task.data.classes)
        task.charge(len(held_out), grad=False)
        unseen = predict(task.classifier, task.data, held_out).logits.softmax(1)
        means = class_means(unseen, held_out.labels.cpu(), classes).to(task.device)

        def term(context: BatchContext) -> Tensor:
            logits = context.outputs("forget").logits
            reference = means[context.labels("forget")].mean(0).expand_as(logits)
            return F.kl_div(logits.log_softmax(1), reference, reduction="batchmean")

        yield self.fit_both(
            (1 - self.weight) * cross_entropy("retain"),
            self.weight * Objective.of(term),
            self.forget_batch_size or size,
        )


def class_means(probabilities: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Compute the mean of the rows of each class, (classes, K).

    A class without rows gets the mean of all rows.

    Args: probabilities: (N, K); labels: (N,) int64.

    >>> class_means(torch.eye(2), torch.tensor([0, 0]), 2).tolist()
    [[0.5, 0.5], [0.5, 0.5]]
    """
    sums = torch.zeros(classes, probabilities.shape[1]).index_add_(0, labels, probabilities)
    counts = labels.bincount(minlength=classes)[:, None]
    return torch.where(counts > 0, sums / counts.clamp(min=1), probabilities.mean(0))
