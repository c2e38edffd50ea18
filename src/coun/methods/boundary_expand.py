"""Boundary expand: teach forget samples a class of their own, then drop that class."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from coun.engine import Fit, Phase, Stage, Task
from coun.objectives import BatchContext, Objective
from coun.plans.method import FROZEN, Positive, Training


@dataclass(frozen=True, config=FROZEN)
class BoundaryExpand(Training):
    """Train forget samples to a class K + 1 that is dropped afterwards (Boundary expand).

    The row of the head for that class lives beside the model, drawn from the run's seed, and is
    trained along with it: the model never changes its shape. Only the features, and the K rows
    pushed down, keep what was learnt.

    Source: Chen et al., CVPR 2023; settings of its code (SGD 0.9, lr 1e-5, 10 epochs). SalUn's
    copy of it leaves the extra logit in the model. Meant for whole classes.
    """

    name: ClassVar[str] = "boundary_expand"
    source: ClassVar[str] = "Boundary Unlearning, Chen et al., CVPR 2023"
    reads: ClassVar[frozenset[str]] = frozenset({"forget"})

    epochs: Positive | None = Field(10, description="passes over the forget set")
    batch_size: Positive | None = Field(
        None, description="forget images an update; open: the original's"
    )
    lr: float = Field(1e-5, gt=0, description="peak learning rate")
    schedule: Literal["cosine", "multistep", "constant"] = Field("constant", description="of lr")
    weight_decay: float = Field(0.0, ge=0, description="on all parameters")

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        epochs, size = self.budget()
        with task.seeds.as_global("init", "expand"):
            extra = nn.Linear(task.classifier.head.in_features, 1).to(task.device)

        def term(context: BatchContext) -> Tensor:
            out = context.outputs("forget")
            wide = torch.cat([out.logits, extra(out.features)], dim=1)
            last = torch.full_like(context.labels("forget"), out.logits.shape[1])
            return F.cross_entropy(wide, last)

        phase = Phase(Objective.of(term), {"forget": size})
        yield Fit((phase,), epochs, self.optimization(), self.name, modules=(extra,))
