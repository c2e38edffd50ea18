"""NegGrad: gradient ascent on the forget set."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from coun.engine import Phase, Stage, Task
from coun.methods.finetune import FineTune
from coun.objectives import BatchContext, Objective
from coun.plans.method import FROZEN, Positive


@dataclass(frozen=True, config=FROZEN)
class NegGrad(FineTune):
    """Climb the loss of the forget set, without retain data (NegGrad, GA).

    The loss has no upper bound, so samples that reached `max_loss` are pushed no further; the
    authors have no such limit and a short run instead. BatchNorm drifts to forget statistics.

    Source: Golatkar et al., CVPR 2020; Thudi et al., EuroS&P 2022; settings of Sparse (Jia et
    al., NeurIPS 2023): lr 1e-4, constant, 5 epochs. These suit forgetting a class; for random
    rows its authors search lr in 1e-5..0.1.
    """

    name: ClassVar[str] = "neggrad"
    source: ClassVar[str] = "NegGrad, Golatkar et al., CVPR 2020; Thudi et al., EuroS&P 2022"
    reads: ClassVar[frozenset[str]] = frozenset({"forget"})

    epochs: Positive | None = Field(5, description="passes over the forget set")
    batch_size: Positive | None = Field(
        None, description="forget images an update; open: the original's"
    )
    lr: float = Field(1e-4, gt=0, description="learning rate")
    schedule: Literal["cosine", "multistep", "constant"] = Field(
        "constant", description="constant; cosine to lr_floor; multistep x0.1 at 50% and 75%"
    )
    max_loss: float | None = Field(
        None,
        gt=0,
        description="nats from which a sample is pushed no further; open: a uniform guess, ln C",
    )

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        _, size = self.budget()
        objective = -bounded_loss(self.max_loss or math.log(len(task.data.classes)))
        one = Phase(objective, {"forget": size})
        yield replace(self.train(objective), phases=(one,))


def bounded_loss(limit: float) -> Objective:
    """Mean cross entropy of forget batches, each sample's cut at *limit* nats.

    Above the limit a sample has no gradient: it is neither pushed on nor pulled back.
    """

    def term(context: BatchContext) -> Tensor:
        logits = context.outputs("forget").logits
        each = F.cross_entropy(logits, context.labels("forget"), reduction="none")
        return each.clamp(max=limit).mean()

    return Objective.of(term)
