"""Contrastive Unlearning: push forget features to retain samples of other classes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from coun.engine import Fit, Phase, Stage, Task
from coun.engine.batches import steps_per_epoch
from coun.objectives import BatchContext, Objective
from coun.objectives.contrastive.repulsion import Weighting, push_loss
from coun.plans.epochs import error, one_stage_per_epoch
from coun.plans.method import FROZEN, Positive, Training


@dataclass(frozen=True, config=FROZEN)
class ContrastiveUnlearning(Training):
    """Pull forget features to other classes and away from their own (Contrastive Unlearning).

    An epoch makes omega updates for each forget batch, each beside another retain batch, with
    scale * push_loss + retain_weight * CE(retain); both parts go through the model as one batch.
    There is no projection head, which the authors' model is trained with: features are those
    that the classifier reads. Forget batches are drawn anew for each of the omega updates.

    stop_at ends the run after the first epoch whose forget accuracy is not above it. The authors
    stop at the test accuracy; no test row is read here, so the number has to be given. Every
    epoch is then a stage of its own (`one_stage_per_epoch`).

    Source: Lee et al., IJCAI 2025, and its code: tau 0.7, lr 1e-3, momentum 0.9 without decay,
    batch 128, 3 epochs (for a class; 30 to 100 for random rows), 3 to 1.
    """

    name: ClassVar[str] = "contrastive_unlearning"
    source: ClassVar[str] = "Contrastive Unlearning, Lee et al., IJCAI 2025"
    reads: ClassVar[frozenset[str]] = frozenset({"retain", "forget"})

    epochs: Positive | None = Field(3, description="passes over the forget set, omega times each")
    batch_size: Positive | None = Field(128, description="images of each set an update")
    lr: float = Field(1e-3, gt=0, description="peak learning rate")
    schedule: Literal["cosine", "multistep", "constant"] = Field("constant", description="of lr")
    weight_decay: float = Field(0.0, ge=0, description="on all parameters")
    omega: Positive = Field(4, description="retain batches for a forget batch")
    temperature: float = Field(0.7, gt=0, description="tau, of the contrastive loss")
    scale: float = Field(3.0, ge=0, description="weight of the contrastive loss")
    retain_weight: float = Field(1.0, ge=0, description="weight of the retain cross entropy")
    weighting: Weighting = Field("correct", description="reference: as the authors' code weighs")
    stop_at: float | None = Field(None, ge=0, le=100, description="forget accuracy, percent")

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        epochs, size = self.budget()

        def term(context: BatchContext) -> Tensor:
            u, r = context.labels("forget"), context.labels("retain")
            out = context.forward(torch.cat([context.inputs("forget"), context.inputs("retain")]))
            gone, kept = out.features[: len(u)], out.features[len(u) :]
            t, w = self.temperature, self.weighting
            away = push_loss(gone, kept, u, r, temperature=t, weighting=w)
            return self.scale * away + self.retain_weight * F.cross_entropy(out.logits[len(u) :], r)

        length = self.omega * steps_per_epoch(len(task.rows("forget")), size)
        phase = Phase(Objective.of(term), {"forget": size, "retain": size}, steps=length)
        whole = Fit((phase,), epochs, self.optimization(), self.name)
        for stage in [whole] if self.stop_at is None else one_stage_per_epoch(whole):
            yield stage
            if self.stop_at is not None and 100 - error(task, "forget") <= self.stop_at:
                return
