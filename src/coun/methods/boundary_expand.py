"""Boundary expand: train forget rows to a class of their own, then drop that class."""

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
class BoundaryExpand(ForgetOnly):
    """Train forget rows to a class K + 1, which is dropped afterwards (Boundary expand, BE).

    The forget rows get a class of their own, which takes them out of all others; afterwards
    this class is removed. Only the changed features, and the K rows of the head that the
    training decreased, keep what was learned.

    Formula: L = CE(forget, K + 1).
    Cost: one forward and one backward pass of every forget row in each epoch.
    Limits: meant for whole classes; for random rows its settings hardly have an effect.
    Source: Chen et al., CVPR 2023; settings of its code (SGD with momentum 0.9, learning rate 1e-5,
        10 epochs).
    Differences: the row of the head for the extra class is kept beside the model, drawn from the
        seed of the run, and trained with it, so the model never changes its shape. SalUn's copy of
        the method leaves the extra logit in the model.
    """

    name: ClassVar[str] = "boundary_expand"
    source: ClassVar[str] = "Boundary Unlearning, Chen et al., CVPR 2023"

    lr: LearningRate = Field(1e-5)
    weight_decay: WeightDecay = Field(0.0)

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        with task.seeds.as_global("init", "expand"):
            extra = nn.Linear(task.classifier.in_features, 1).to(task.device)

        def term(context: BatchContext) -> Tensor:
            out = context.outputs("forget")
            wide = torch.cat([out.logits, extra(out.features)], dim=1)
            last = torch.full_like(context.labels("forget"), out.logits.shape[1])
            return F.cross_entropy(wide, last)

        yield self.fit_forget(Objective.of(term), modules=(extra,))
