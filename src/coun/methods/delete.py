"""DELETE: on forget rows, keep the Original's odds among the other classes only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from coun.engine import Stage, Task
from coun.objectives import BatchContext, Objective
from coun.plans.forget_only import ForgetOnly
from coun.plans.method import FROZEN, LearningRate, WeightDecay


@dataclass(frozen=True, config=FROZEN)
class Delete(ForgetOnly):
    """Match the Original's predictions for forget rows with the true class left out (DELETE).

    The model learns for each forget row what the Original would say if the true class did not
    exist: the row goes where the Original's second thoughts are. Retain rows are not read.

    Formula: L = KL(q || model) on forget rows, where q is the softmax of the Original's logits with
        that of the true class at minus infinity.
    Cost: one forward and one backward pass of every forget row in each epoch, and one forward pass
        of the Original.
    Limits: meant for whole classes; rows of other requests end with a probability of their true
        class near 0, which no Retrain gives them.
    Source: Zhou et al., "Decoupled Distillation to Erase", CVPR 2025 (arXiv 2503.23751), and its
        code: SGD with momentum 0.9 and without weight decay, a teacher in eval mode that sees the
        same augmented images.
    Differences: for a ResNet-18 and CIFAR-10 the code has 20 epochs at 1e-4 and batches of 128. 10
        epochs at 0.01 are our choice: small models and few rows need longer steps.
    """

    name: ClassVar[str] = "delete"
    source: ClassVar[str] = "DELETE, Zhou et al., CVPR 2025"

    lr: LearningRate = Field(0.01)
    weight_decay: WeightDecay = Field(0.0)

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        teacher = task.teacher()

        def term(context: BatchContext) -> Tensor:
            target = context.outputs("forget", model=teacher).logits
            logits = context.outputs("forget").logits
            return without_true_class(logits, target, context.labels("forget"))

        yield self.fit_forget(Objective.of(term))


def without_true_class(logits: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
    """Compute the mean over rows of KL(teacher without the true class || model), in nats.

    Args: logits, teacher: logits (B, K); labels: (B,) int64.

    >>> zeros = torch.zeros(1, 3)
    >>> round(without_true_class(zeros, zeros, torch.tensor([0])).item(), 4)
    0.4055
    """
    of_class = F.one_hot(labels, teacher.shape[1]).bool()
    target = teacher.masked_fill(of_class, -torch.inf).softmax(1)
    return F.kl_div(logits.log_softmax(1), target, reduction="batchmean")
