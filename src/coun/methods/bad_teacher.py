"""Bad Teacher: imitate an untrained network on forget rows, and the Original on the rest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from coun.engine import Phase, Stage, Task
from coun.models import Classifier
from coun.objectives import BatchContext, Objective
from coun.objectives.distillation import Reduction, kl_loss
from coun.plans.method import (
    FROZEN,
    LearningRate,
    OptimizerKind,
    Positive,
    Schedule,
    Training,
    WeightDecay,
)


@dataclass(frozen=True, config=FROZEN)
class BadTeacher(Training):
    """Distil from a random network on forget rows, and from the Original on retain rows (BadT).

    The student learns from a teacher that knows nothing on forget rows, and from the Original
    on retain rows. The bad teacher is a fresh model; where only weights are known, it is a
    copy whose layers draw new weights.

    Formula: L = KL(teacher || student) over one batch of both sets, in the proportion of their
        sizes, with at least two images of each. Both teachers are in eval mode.
    Cost: one forward and one backward pass of the forget rows and of a share of the retain rows,
        and one forward pass of a teacher for each.
    Limits: rows that are forgotten get nearly equal probabilities for all classes, which no Retrain
        gives them, and attacks that look at entropy may see it.
    Source: Chundawat et al., AAAI 2023; settings of its code (Adam, learning rate 1e-4, 1 epoch,
        batches of 256, T 1, 30% of the retain rows).
    Differences: the authors' KL is averaged over batch and classes (reduction=mean), so it is K
        times smaller; this hardly matters to Adam, but does to SGD. Their code leaves the student
        in whatever mode it was in.
    """

    name: ClassVar[str] = "bad_teacher"
    source: ClassVar[str] = "Bad Teaching, Chundawat et al., AAAI 2023"
    reads: ClassVar[frozenset[str]] = frozenset({"retain", "forget"})

    epochs: Positive | None = Field(
        1, description="Passes over the share of the retain rows, together with the forget rows."
    )
    batch_size: Positive | None = Field(
        256, ge=4, description="Rows per step, of both sets together."
    )
    lr: LearningRate = Field(1e-4)
    schedule: Schedule = Field("constant")
    optimizer: OptimizerKind = Field("adamw")
    weight_decay: WeightDecay = Field(0.0)
    retain_share: float = Field(
        0.3, gt=0, le=1, description="Share of the retain rows to train on, drawn once."
    )
    temperature: float = Field(
        1.0, gt=0, description="Temperature of every softmax; the loss has no factor T^2."
    )
    reduction: Reduction = Field(
        "batchmean", description="Average of the KL: over the batch, or (mean) also over classes."
    )

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        _, size = self.budget()
        good, bad = task.teacher(), bad_teacher(task)
        retain, forget_count = task.indices("retain"), len(task.indices("forget"))
        retain_count = max(1, round(self.retain_share * len(retain)))
        order = torch.randperm(len(retain), generator=task.seeds.torch("retain share"))
        part = task.define("retain share", retain[order[:retain_count]])
        retain_size = round(size * retain_count / (retain_count + forget_count))
        retain_size = min(max(2, retain_size), size - 2)

        def term(context: BatchContext) -> Tensor:
            both = torch.cat([context.inputs("retain"), context.inputs("forget")])
            targets = [
                context.outputs(role, model=teacher).logits
                for role, teacher in (("retain", good), ("forget", bad))
            ]
            student = context.forward(both).logits
            return kl_loss(
                student,
                torch.cat(targets),
                temperature=self.temperature,
                reduction=self.reduction,
            )

        batch_sizes = {"retain": retain_size, "forget": size - retain_size}
        yield self.fit(Phase(Objective.of(term), batch_sizes, roles={"retain": part}))


def bad_teacher(task: Task) -> Classifier:
    """Make a frozen, untrained network of the model's architecture, in eval mode."""
    if task.build is not None:
        return task.teacher(task.fresh("bad teacher"))
    teacher = task.teacher()
    with task.seeds.as_global("init", "bad teacher"):
        for module in teacher.modules():
            if callable(reset := getattr(module, "reset_parameters", None)):
                reset()
                continue
            # Parameters outside layers, for example a class token or a position embedding.
            for parameter in module.parameters(recurse=False):
                nn.init.normal_(parameter, std=0.02)
    return teacher
