"""NegGrad: gradient ascent on the forget rows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from coun.engine import Stage, Task
from coun.objectives import BatchContext, Objective
from coun.plans.forget_only import ForgetEpochs, ForgetOnly
from coun.plans.method import FROZEN, LearningRate, MaxLoss


@dataclass(frozen=True, config=FROZEN)
class NegGrad(ForgetOnly):
    """Increase the forget loss by gradient ascent, without retain rows (NegGrad, NG, GA).

    Each step does the opposite of training: it makes the forget rows less likely. Retain rows
    are not read, so nothing holds the rest of the model in place.

    Formula: L = -mean(min(CE(forget), max_loss)).
    Cost: one forward and one backward pass of every forget row in each epoch, which is very little.
    Limits: retain and test accuracy fall, because nothing protects them. BatchNorm statistics move
        to those of the forget rows. It is meant for whole classes.
    Source: Golatkar et al., CVPR 2020; Thudi et al., EuroS&P 2022; settings of Sparse (Jia et al.,
        NeurIPS 2023): learning rate 1e-4, constant, 5 epochs. These suit forgetting a class; for
        random rows its authors search the learning rate in 1e-5..0.1.
    Differences: the loss has no upper bound, so a row that has reached `max_loss` no longer
        contributes. The authors have no such limit; they keep the run short instead.
    """

    name: ClassVar[str] = "neggrad"
    source: ClassVar[str] = "NegGrad, Golatkar et al., CVPR 2020; Thudi et al., EuroS&P 2022"

    epochs: ForgetEpochs = Field(5)
    lr: LearningRate = Field(1e-4)
    max_loss: MaxLoss = Field(None)

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        objective = -bounded_loss(self.max_loss or math.log(len(task.data.classes)))
        yield self.fit_forget(objective)


def bounded_loss(limit: float) -> Objective:
    """Return the mean cross entropy of forget batches, with every row's loss cut at *limit* nats.

    Above the limit a row has no gradient, so it is pushed neither up nor down.
    """

    def term(context: BatchContext) -> Tensor:
        logits = context.outputs("forget").logits
        losses = F.cross_entropy(logits, context.labels("forget"), reduction="none")
        return losses.clamp(max=limit).mean()

    return Objective.of(term)
