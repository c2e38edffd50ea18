"""Bad Teacher: imitate an ignorant net on forget data, the original on the rest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from coun.engine import Fit, Phase, Stage, Task
from coun.models import Classifier
from coun.objectives import BatchContext, Objective
from coun.objectives.distillation import Reduction, kl_loss
from coun.plans.method import FROZEN, Positive, Training


@dataclass(frozen=True, config=FROZEN)
class BadTeacher(Training):
    """Distil from a random net on forget data, from the original on retain data (Bad Teacher).

    KL(teacher || student) over one batch of both, whose parts stand in the proportion of the
    sets, two images each at least. Both teachers are in eval mode. The bad one is made afresh;
    where only weights are known it is a copy whose layers draw new weights.

    Source: Chundawat et al., AAAI 2023; settings of its code (Adam, lr 1e-4, 1 epoch, batch 256,
    T 1, 30% of the retain set). Its KL is averaged over batch and classes (reduction=mean), K
    times less; Adam hardly notices, SGD does. It leaves the student in whatever mode it was.
    """

    name: ClassVar[str] = "bad_teacher"
    source: ClassVar[str] = "Bad Teaching, Chundawat et al., AAAI 2023"
    reads: ClassVar[frozenset[str]] = frozenset({"retain", "forget"})

    epochs: Positive | None = Field(1, description="passes over the retain share and forget set")
    batch_size: Positive | None = Field(256, ge=4, description="images an update, of both sets")
    lr: float = Field(1e-4, gt=0, description="peak learning rate")
    schedule: Literal["cosine", "multistep", "constant"] = Field("constant", description="of lr")
    optimizer: Literal["sgd", "adamw"] = Field("adamw", description="sgd with momentum, or adamw")
    weight_decay: float = Field(0.0, ge=0, description="on all parameters")
    retain_share: float = Field(0.3, gt=0, le=1, description="of the retain set, drawn once")
    temperature: float = Field(1.0, gt=0, description="T in every softmax; no factor T^2")
    reduction: Reduction = Field("batchmean", description="of the KL; mean: also over classes")

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        epochs, size = self.budget()
        good, bad = task.teacher(), bad_teacher(task)
        rows, gone = task.rows("retain"), len(task.rows("forget"))
        count = max(1, round(self.retain_share * len(rows)))
        order = torch.randperm(len(rows), generator=task.seeds.torch("retain share"))
        part = task.define("retain share", rows[order[:count]])
        kept = round(size * count / (count + gone))
        kept = min(max(2, kept), size - 2)

        def term(context: BatchContext) -> Tensor:
            both = torch.cat([context.inputs("retain"), context.inputs("forget")])
            kept, lost = context.outputs("retain", model=good), context.outputs("forget", model=bad)
            targets = torch.cat([kept.logits, lost.logits])
            own = context.forward(both).logits
            return kl_loss(own, targets, temperature=self.temperature, reduction=self.reduction)

        batch_sizes = {"retain": kept, "forget": size - kept}
        phase = Phase(Objective.of(term), batch_sizes, roles={"retain": part})
        yield Fit((phase,), epochs, self.optimization(), self.name)


def bad_teacher(task: Task) -> Classifier:
    """A frozen net of the model's architecture that has learnt nothing, in eval mode."""
    if task.build is not None:
        return task.teacher(task.fresh("bad teacher"))
    teacher = task.teacher()
    with task.seeds.as_global("init", "bad teacher"):
        for module in teacher.modules():
            if callable(reset := getattr(module, "reset_parameters", None)):
                reset()
                continue
            for loose in module.parameters(recurse=False):  # a class token, a position embedding
                nn.init.normal_(loose, std=0.02)
    return teacher
