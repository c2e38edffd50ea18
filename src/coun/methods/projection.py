"""Gradient ascent on the forget set, but never against the retain set."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from coun.engine import Phase, Stage, Task
from coun.methods.finetune import FineTune
from coun.methods.neggrad import bounded_loss
from coun.objectives import BatchContext, Objective, cross_entropy
from coun.plans.method import FROZEN


@dataclass(frozen=True, config=FROZEN)
class Projection(FineTune):
    """Fine-tune while climbing the forget loss where that does not raise the retain loss.

    Each update descends along g - weight * a': g is the retain gradient, and a' the forget
    gradient less its part along g where the two agree, for there climbing one climbs both:
    a' = a - max(0, <a, g>) / |g|^2 g. Samples that reached `max_loss` are pushed no further.

    Source: after Interference-Aware Multi-Task Unlearning (arXiv 2605.19042), which projects per
        task in dense vision; the single-task form is the specification's, section 3.23, and the
        settings are ours: no reference code, recipe of CoUn, section 4.1.
    """

    name: ClassVar[str] = "projection"
    source: ClassVar[str] = "after Interference-Aware Multi-Task Unlearning, arXiv 2605.19042"
    reads: ClassVar[frozenset[str]] = frozenset({"retain", "forget"})

    weight: float = Field(0.05, ge=0, description="of the projected ascent; 0: fine-tuning")
    max_loss: float | None = Field(
        None,
        gt=0,
        description="nats from which a sample is pushed no further; open: a uniform guess, ln C",
    )

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        _, size = self.budget()
        objective = cross_entropy("retain")
        if self.weight > 0:
            limit = self.max_loss or math.log(len(task.data.classes))
            objective = without_conflict(objective, bounded_loss(limit), self.weight)
        one = Phase(objective, {"retain": size, "forget": size})
        yield replace(self.train(objective), phases=(one,))


def without_conflict(kept: Objective, climbed: Objective, weight: float) -> Objective:
    """*kept* - *weight* * *climbed*, the gradient of *climbed* projected off that of *kept*."""

    def term(context: BatchContext) -> Tensor:
        weights = [p for p in context.model.parameters() if p.requires_grad]
        down, up = kept(context), climbed(context)
        # Other terms may go back through the same forwards, so their graphs stay.
        g, a = (
            torch.autograd.grad(loss, weights, retain_graph=True, materialize_grads=True)
            for loss in (down, up)
        )
        direction = [x - weight * y for x, y in zip(g, project(a, g), strict=True)]
        along = dot(weights, direction)  # a number whose gradient is the direction
        return (down - weight * up).detach() + (along - along.detach())

    return Objective.of(term)


def project(ascent: Sequence[Tensor], retain: Sequence[Tensor]) -> list[Tensor]:
    """*ascent* less its part along *retain* if that is positive; each list is one vector."""
    length = dot(retain, retain)
    share = dot(ascent, retain).clamp(min=0) / length.clamp(min=torch.finfo(length.dtype).tiny)
    return [a - share * g for a, g in zip(ascent, retain, strict=True)]


def dot(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """The inner product of two lists of tensors."""
    return torch.stack([(x * y).sum() for x, y in zip(a, b, strict=True)]).sum()
