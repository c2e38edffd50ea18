"""Gradient ascent on the forget rows that does not increase the retain loss."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from coun.engine import Phase, Stage, Task
from coun.methods.neggrad import bounded_loss
from coun.objectives import BatchContext, Objective, cross_entropy
from coun.plans.method import FROZEN, MaxLoss, Training


@dataclass(frozen=True, config=FROZEN)
class Projection(Training):
    """Fine-tune, and increase the forget loss where this does not increase the retain loss.

    Ascent on forget rows and descent on retain rows often pull in opposite directions. The
    part of the forget gradient that would increase both losses is removed before each step. A
    row whose loss has reached `max_loss` no longer contributes.

    Formula: the step descends along g - weight * a', where g is the retain gradient, a the forget
        gradient, and a' = a - max(0, <a, g>) / |g|^2 g.
    Cost: one forward and one backward pass of every retain row in each epoch, and of one forget
        batch in each step.
    Limits: measured in one small setting only; it needs the forget rows.
    Source: after Interference-Aware Multi-Task Unlearning (arXiv 2605.19042), which projects the
        gradients of several tasks in dense prediction.
    Differences: the form for one task, above, and its settings are ours: there was no reference
        code. The recipe is that of CoUn, section 4.1.
    """

    name: ClassVar[str] = "projection"
    source: ClassVar[str] = "after Interference-Aware Multi-Task Unlearning, arXiv 2605.19042"
    reads: ClassVar[frozenset[str]] = frozenset({"retain", "forget"})

    weight: float = Field(
        0.05, ge=0, description="Weight of the projected ascent; at 0 the method is fine-tuning."
    )
    max_loss: MaxLoss = Field(None)

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        _, size = self.budget()
        objective = cross_entropy("retain")
        if self.weight > 0:
            limit = self.max_loss or math.log(len(task.data.classes))
            objective = without_conflict(objective, bounded_loss(limit), self.weight)
        yield self.fit(Phase(objective, {"retain": size, "forget": size}))


def without_conflict(descent: Objective, ascent: Objective, weight: float) -> Objective:
    """Return *descent* - *weight* * *ascent*, with the gradient of *ascent* projected.

    Its part along the gradient of *descent* is removed where both point the same way.
    """

    def term(context: BatchContext) -> Tensor:
        weights = [p for p in context.model.parameters() if p.requires_grad]
        down, up = descent(context), ascent(context)
        # Other terms may use the same forward passes, so their graphs are kept.
        g, a = (
            torch.autograd.grad(loss, weights, retain_graph=True, materialize_grads=True)
            for loss in (down, up)
        )
        direction = [x - weight * y for x, y in zip(g, project(a, g), strict=True)]
        return along(weights, direction, down - weight * up)

    return Objective.of(term)


def along(weights: Sequence[Tensor], direction: Sequence[Tensor], value: Tensor) -> Tensor:
    """Return a scalar equal to *value* whose gradient with respect to *weights* is *direction*.

    The engine differentiates a scalar, so this is how a term chooses the step itself.

    >>> w = torch.ones(2, requires_grad=True)
    >>> loss = along([w], [torch.tensor([3.0, 4.0])], torch.tensor(7.0))
    >>> loss.backward()
    >>> loss.item(), w.grad.tolist()
    (7.0, [3.0, 4.0])
    """
    surrogate = dot(weights, direction)
    return value.detach() + (surrogate - surrogate.detach())


def project(ascent: Sequence[Tensor], retain: Sequence[Tensor]) -> list[Tensor]:
    """Remove from *ascent* its part along *retain*, if that is positive.

    Each list of tensors stands for one vector.
    """
    length = dot(retain, retain)
    share = dot(ascent, retain).clamp(min=0) / length.clamp(min=torch.finfo(length.dtype).tiny)
    return [a - share * g for a, g in zip(ascent, retain, strict=True)]


def dot(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """Return the inner product of two lists of tensors."""
    return torch.stack([(x * y).sum() for x, y in zip(a, b, strict=True)]).sum()
