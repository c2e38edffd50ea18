"""SFR-on: steps that raise the forget loss where it matters, between repairs on retain rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from coun.engine import Phase, Stage, Task, batch_gradients
from coun.engine.batches import steps_per_epoch
from coun.methods.projection import along
from coun.objectives import BatchContext, Objective, cross_entropy
from coun.plans.method import FROZEN, LearningRate, LrFloor, Positive, RetainEpochs
from coun.plans.two_losses import TwoLosses

TINY = 1e-15  # keeps ratios finite, as in the authors' code


@dataclass(frozen=True, config=FROZEN)
class SFRon(TwoLosses):
    """Raise the weighted forget loss in few, salient weights, and repair on retain rows (SFR-on).

    Steps that raise the forget loss are rare, and change only weights that matter more to forget
    rows than to retain rows; the steps between them repair what was broken. Rows with a small
    loss, which the model knows best, weigh most.

    Formula: before each group of `every` retain steps one step ascends s(t) * mean(w_i l_i) over a
        forget batch, w_i = N l_i^-power / sum l^-power, where s falls from `strength` to 0 along a
        cosine.
        Its gradient is kept only where the Fisher information of the forget rows is at least
        `threshold` times that of the retain rows, and is cut to length `max_norm`.
    Cost: one forward and one backward pass of every retain row in each epoch, of one forget batch
        for every `every` steps, and of both sets once before the training.
    Limits: an ascent has no bound, and max_norm and the falling strength are all that ends it:
        where forget steps are many, or the learning rate is larger than published, it ruins the
        model. It needs the forget rows.
    Source: Huang et al., "Unified Gradient-Based Machine Unlearning with Remain Geometry
        Enhancement", NeurIPS 2024, and its code for 10% of CIFAR-10: 1,500 retain steps (about 9
        epochs), SGD at 0.01 falling to 0, strength 25, power 0.5, max_norm 7.
    Differences: in the code the loader goes on from one group of retain steps to the next; here
        each group of `every` batches is drawn anew.
    """

    name: ClassVar[str] = "sfron"
    source: ClassVar[str] = "SFR-on, Huang et al., NeurIPS 2024"
    reads: ClassVar[frozenset[str]] = frozenset({"retain", "forget"})

    epochs: RetainEpochs = Field(9)
    lr: LearningRate = Field(0.01)
    lr_floor: LrFloor = Field(0.0)
    every: Positive = Field(5, description="Number of retain steps for each forget step.")
    strength: float = Field(25.0, ge=0, description="Factor of the forget loss at the start.")
    power: float = Field(
        0.5, ge=0, description="How much more rows with a small loss weigh, lambda; 0: not at all."
    )
    threshold: float = Field(
        1.0,
        ge=0,
        description="Smallest ratio of Fisher information, forget to retain, of a weight.",
    )
    max_norm: float = Field(7.0, gt=0, description="Largest length of the forget gradient.")

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        epochs, size = self.budget()
        mask = salient_ratio(task, size, self.threshold)

        def ascent(context: BatchContext) -> Tensor:
            logits = context.outputs("forget").logits
            losses = F.cross_entropy(logits, context.labels("forget"), reduction="none")
            fade = (1 + math.cos(math.pi * context.progress)) / 2
            loss = -self.strength * fade * (easy_first(losses.detach(), self.power) * losses).mean()
            weights = {n: p for n, p in model.named_parameters() if p.requires_grad}
            gradients = torch.autograd.grad(loss, list(weights.values()), materialize_grads=True)
            masked = [g * mask[n] for n, g in zip(weights, gradients, strict=True)]
            return along(list(weights.values()), cut(masked, self.max_norm), loss)

        groups = math.ceil(epochs * steps_per_epoch(len(task.indices("retain")), size) / self.every)
        phases = [Phase(cross_entropy("retain"), {"retain": size}, steps=self.every)]
        if self.strength:
            phases.insert(0, Phase(Objective.of(ascent), {"forget": size}, steps=1))
        yield self.fit(*phases, epochs=groups)


def salient_ratio(task: Task, batch_size: int, threshold: float) -> Mapping[str, Tensor]:
    """Mark the weights whose Fisher information, forget to retain, has at least this ratio.

    It is the mean of the squared gradients of batches, in eval mode.
    """
    fisher: dict[str, dict[str, Tensor]] = {}
    for role in ("forget", "retain"):
        count = math.ceil(len(task.indices(role)) / batch_size)
        total: dict[str, Tensor] = {}
        for _, gradients in batch_gradients(task, role, batch_size=batch_size):
            for name, g in gradients.items():
                total[name] = total.get(name, torch.zeros_like(g)) + g.square() / count
        fisher[role] = total
    forget, retain = fisher["forget"], fisher["retain"]
    return {n: (forget[n] + TINY) / (retain[n] + TINY) >= threshold for n in forget}


def easy_first(losses: Tensor, power: float) -> Tensor:
    """Compute weights (N,) with mean 1, proportional to *losses* (N,) to the power -*power*.

    >>> easy_first(torch.tensor([1.0, 4.0]), 0.5).tolist()
    [1.3333333730697632, 0.6666666865348816]
    """
    inverse = 1 / (losses.pow(power) + TINY)
    return len(losses) * inverse / inverse.sum()


def cut(gradients: list[Tensor], length: float) -> list[Tensor]:
    """Shorten *gradients*, which stand for one vector, to *length* if they are longer.

    >>> [g.tolist() for g in cut([torch.tensor([3.0]), torch.tensor([4.0])], 1.0)]
    [[0.6000000238418579], [0.800000011920929]]
    """
    norm = torch.stack([g.square().sum() for g in gradients]).sum().sqrt()
    factor = (length / norm.clamp(min=TINY)).clamp(max=1)
    return [factor * g for g in gradients]
