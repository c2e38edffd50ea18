"""AMUN: fine-tune on the nearest adversarial examples of forget rows, with their wrong labels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from coun.engine import Phase, Stage, Task
from coun.models import Classifier
from coun.objectives import BatchContext, Objective
from coun.plans.method import FROZEN, LearningRate, Positive, Schedule, Training

DOUBLINGS = 12  # of the radius; a row that none of them moves keeps its label
BATCH = 256


@dataclass(frozen=True, config=FROZEN)
class Amun(Training):
    """Fine-tune on retain rows and on adversarial examples near forget rows (AMUN).

    For each forget row x an attack finds a near x' to which the Original gives another class
    y'. Training on (x', y') lowers the confidence at x without changes far from it. Both sets
    are mixed in every batch, in the proportion of their sizes.

    Formula: L = CE(retain) + CE(x', y'). The attack is projected gradient ascent of the cross
        entropy in the L2 ball about x; its radius starts at `radius` and doubles until the class
        changes.
    Cost: one forward and one backward pass of every retain and forget row in each epoch; the attack
        costs `steps` forward and backward passes of each forget row for every radius that is tried,
        and is charged.
    Limits: the attack makes up much of the cost where few epochs are run. It needs the forget rows.
    Source: Ebrahimpour-Boroojeny et al., "Not All Wrong is Bad: Using Adversarial Examples for
        Unlearning", ICML 2025: PGD-50 in L2, radius 0.04, steps of a tenth of it; SGD at 0.01, 10
        epochs.
    Differences: in the paper the attack is in pixels of 0..1 and the pixels are clipped; here it is
        in the normalised inputs of the model, where the same distance is about four times shorter,
        and nothing is clipped. Adversarial examples are not augmented.
    """

    name: ClassVar[str] = "amun"
    source: ClassVar[str] = "AMUN, Ebrahimpour-Boroojeny et al., ICML 2025"
    reads: ClassVar[frozenset[str]] = frozenset({"retain", "forget"})
    changes_inputs: ClassVar[bool] = True

    epochs: Positive | None = Field(10, description="Passes over both sets.")
    lr: LearningRate = Field(0.01)
    schedule: Schedule = Field("constant")
    radius: float = Field(0.04, gt=0, description="First radius of the attack, in inputs (L2).")
    steps: Positive = Field(50, description="Steps of the attack for each radius.")

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        _, size = self.budget()
        inputs, labels = adversarial(task, self.radius, self.steps)
        counts = {role: len(task.indices(role)) for role in ("retain", "forget")}
        share = counts["forget"] / sum(counts.values())

        def mixed(context: BatchContext) -> Tensor:
            slots, device = context.slots("forget"), context.labels("retain").device
            near, wrong = inputs[slots].to(device), labels[slots].to(device)
            # One forward pass for both, so that BatchNorm sees the mixture.
            logits = context.forward(torch.cat([context.inputs("retain"), near])).logits
            retain, forget = torch.split(logits, [len(context.labels("retain")), len(wrong)])
            loss = F.cross_entropy(retain, context.labels("retain"))
            return (1 - share) * loss + share * F.cross_entropy(forget, wrong)

        steps = math.ceil(sum(counts.values()) / size)
        batch_sizes = {role: math.ceil(count / steps) for role, count in counts.items()}
        moved = int((labels != task.source("forget").labels.cpu()).sum())
        name = f"{self.name}, the attack moved {moved} of {len(labels)}"
        yield self.fit(Phase(Objective.of(mixed), batch_sizes), name=name)


def adversarial(task: Task, radius: float, steps: int) -> tuple[Tensor, Tensor]:
    """Find for each forget row a near input that the model gives another class.

    Returns: Inputs (N, ...) float32 and the model's classes for them (N,) int64, on the CPU.
    """
    model, source = task.teacher(), task.source("forget")
    results = []
    for slots in torch.split(torch.arange(len(source)), BATCH):
        slots = slots.to(source.labels.device)
        x = task.data.views.evaluate(source.fetch(slots).to(task.device)).detach()
        results.append(_moved(model, task, x, source.labels[slots].to(task.device), radius, steps))
    inputs, labels = zip(*results, strict=True)
    return torch.cat(inputs), torch.cat(labels)


def _moved(
    model: Classifier, task: Task, x: Tensor, true: Tensor, radius: float, steps: int
) -> tuple[Tensor, Tensor]:
    """Adversarial inputs and their classes for one batch *x* with labels *true*."""
    result, classes = x.clone(), true.clone()
    left = torch.arange(len(x), device=x.device)
    for doubling in range(DOUBLINGS + 1):
        if not len(left):
            break
        near = _attack(model, x[left], true[left], radius * 2**doubling, steps)
        with torch.no_grad():
            now = model(near).logits.argmax(1)
        task.charge(steps * len(left), grad=True)
        task.charge(len(left), grad=False)
        result[left], classes[left] = near, now
        left = left[now == true[left]]
    return result.cpu(), classes.cpu()


def _attack(model: Classifier, x: Tensor, true: Tensor, radius: float, steps: int) -> Tensor:
    """Ascend the cross entropy of *true* from *x*, in steps of a tenth of *radius* (L2)."""
    near = x.clone()
    for _ in range(steps):
        near.requires_grad_()
        # A sum, so that the gradient of a row does not depend on its batch.
        loss = F.cross_entropy(model(near).logits, true, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, near)
        change = near.detach() + radius / 10 * _unit(gradient) - x
        length = change.flatten(1).norm(dim=1).clamp(min=radius)
        near = x + change * (radius / length).view(-1, *[1] * (x.ndim - 1))
    return near.detach()


def _unit(gradient: Tensor) -> Tensor:
    return F.normalize(gradient.flatten(1), dim=1).view_as(gradient)
