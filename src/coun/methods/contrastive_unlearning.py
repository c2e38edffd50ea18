"""Contrastive Unlearning: move forget features towards retain rows of other classes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from coun.engine import Phase, Stage, Task
from coun.engine.batches import steps_per_epoch
from coun.objectives import BatchContext, Objective
from coun.objectives.contrastive.repulsion import Weighting, contrastive_unlearning_loss
from coun.plans.epochs import error_rate, one_stage_per_epoch
from coun.plans.method import FROZEN, LearningRate, Positive, Schedule, Training, WeightDecay


@dataclass(frozen=True, config=FROZEN)
class ContrastiveUnlearning(Training):
    """Pull forget features to other classes, away from their own (Contrastive Unlearning, CU).

    A contrastive loss on the features pushes each forget row away from retain rows of its own
    class and pulls it to those of others, while cross entropy holds the retain rows in place.
    stop_at ends the run after the first epoch whose forget accuracy is not above it; every
    epoch is then a stage of its own (`one_stage_per_epoch`).

    Formula: L = scale * contrastive(forget, retain) + retain_weight * CE(retain). An epoch makes
        omega steps for each forget batch, each with another retain batch; both batches pass through
        the model as one.
    Cost: omega forward and backward passes of every forget row, and of as many retain batches, in
        each epoch.
    Limits: random rows need many epochs (the authors: 30 to 100), and without a good stop_at the
        method forgets too much or too little.
    Source: Lee et al., IJCAI 2025, and its code: tau 0.7, learning rate 1e-3, momentum 0.9 without
        weight decay, batches of 128, 3 epochs (for a class; 30 to 100 for random rows), weights 3
        to 1.
    Differences: there is no projection head, with which the authors' model is trained: the features
        are those that the classifier reads. Forget batches are drawn anew for each of the omega
        steps. The authors stop at the test accuracy; here no test row may be read, so the number
        must be given.
    """

    name: ClassVar[str] = "contrastive_unlearning"
    source: ClassVar[str] = "Contrastive Unlearning, Lee et al., IJCAI 2025"
    reads: ClassVar[frozenset[str]] = frozenset({"retain", "forget"})

    epochs: Positive | None = Field(
        3, description="Epochs; each passes omega times over the forget rows."
    )
    batch_size: Positive | None = Field(128, description="Images of each set per step.")
    lr: LearningRate = Field(1e-3)
    schedule: Schedule = Field("constant")
    weight_decay: WeightDecay = Field(0.0)
    omega: Positive = Field(4, description="Number of retain batches for each forget batch.")
    temperature: float = Field(0.7, gt=0, description="Temperature of the contrastive loss, tau.")
    scale: float = Field(3.0, ge=0, description="Weight of the contrastive loss.")
    retain_weight: float = Field(1.0, ge=0, description="Weight of the retain cross entropy.")
    weighting: Weighting = Field(
        "correct", description="Form of the contrastive loss: as published, or as in its code."
    )
    stop_at: float | None = Field(
        None,
        ge=0,
        le=100,
        description="Forget accuracy, in percent, at which the run ends. Default: never.",
    )

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        _, size = self.budget()

        def term(context: BatchContext) -> Tensor:
            forget_labels, retain_labels = context.labels("forget"), context.labels("retain")
            count = len(forget_labels)
            out = context.forward(torch.cat([context.inputs("forget"), context.inputs("retain")]))
            contrastive = contrastive_unlearning_loss(
                out.features[:count],
                out.features[count:],
                forget_labels,
                retain_labels,
                temperature=self.temperature,
                weighting=self.weighting,
            )
            retain = F.cross_entropy(out.logits[count:], retain_labels)
            return self.scale * contrastive + self.retain_weight * retain

        steps = self.omega * steps_per_epoch(len(task.indices("forget")), size)
        whole = self.fit(Phase(Objective.of(term), {"forget": size, "retain": size}, steps=steps))
        for stage in [whole] if self.stop_at is None else one_stage_per_epoch(whole):
            yield stage
            if self.stop_at is not None and 100 - error_rate(task, "forget") <= self.stop_at:
                return
