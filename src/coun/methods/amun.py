"""AMUN: fine-tune on the nearest adversarial examples of forget rows, with their wrong labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from coun.data import Data, Views
from coun.engine import Phase, Stage, Task
from coun.objectives import BatchContext, Objective
from coun.plans.method import FROZEN, LearningRate, Positive, Schedule, Training

DOUBLINGS = 12  # of the radius; a row that none of them moves keeps its label
BATCH = 256


@dataclass(frozen=True, config=FROZEN)
class Amun(Training):
    """Fine-tune on all rows and on adversarial examples near the forget rows (AMUN).

    For each forget row x an attack finds a near x' to which the Original gives another class
    y'. Training on (x', y') lowers the confidence at x without changes far from it. The forget
    rows stay among the training rows, with their own labels. All sets are mixed in every batch,
    in the proportion of their sizes.

    Formula: L = CE over retain rows, pairs (x', y') and, with `own_labels`, forget rows; every row
        and every pair has the same weight. The attack is projected gradient ascent of the cross
        entropy in the L2 ball about x. It ends for a row as soon as its class changes; where
        `steps` steps change nothing, it goes on in a ball of twice the radius.
    Cost: one forward and one backward pass of every retain and forget row, and of every adversarial
        example, in each epoch; the attack costs a forward and a backward pass of a row in each of
        its steps, and is charged.
    Limits: the attack makes up much of the cost where few epochs are run. It needs the forget rows.
    Source: Ebrahimpour-Boroojeny et al., "Not All Wrong is Bad: Using Adversarial Examples for
        Unlearning", ICML 2025, and its code: PGD-50 in L2, radius 0.04, steps of a tenth of it; SGD
        at 0.01, 10 epochs. With `own_labels=false` the method is what the code calls advonly.
    Differences: the code divides the learning rate by 10 after every 1, 5 or 10 epochs, chosen by
        a search; here it is constant. In each batch the adversarial examples belong to the forget
        rows of the batch. Lengths are those of pixels in 0..1 where the views are those of this
        library, and those of the model's inputs where they are not.
    """

    name: ClassVar[str] = "amun"
    source: ClassVar[str] = "AMUN, Ebrahimpour-Boroojeny et al., ICML 2025"
    reads: ClassVar[frozenset[str]] = frozenset({"retain", "forget"})
    changes_inputs: ClassVar[bool] = True

    epochs: Positive | None = Field(10, description="Passes over all sets.")
    lr: LearningRate = Field(0.01)
    schedule: Schedule = Field("constant")
    radius: float = Field(0.04, gt=0, description="First radius of the attack (L2).")
    steps: Positive = Field(50, description="Steps of the attack before its radius doubles.")
    own_labels: bool = Field(
        True, description="Whether forget rows are also trained with their own labels."
    )

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        _, size = self.budget()
        inputs, labels = adversarial(task, self.radius, self.steps)
        counts = {role: len(task.indices(role)) for role in ("retain", "forget")}
        total = sum(counts.values()) + self.own_labels * counts["forget"]

        def mixed(context: BatchContext) -> Tensor:
            slots, device = context.slots("forget"), context.labels("retain").device
            parts = [
                (counts["retain"], context.inputs("retain"), context.labels("retain")),
                (counts["forget"], inputs[slots].to(device), labels[slots].to(device)),
            ]
            if self.own_labels:
                parts.append((counts["forget"], context.inputs("forget"), context.labels("forget")))
            # One forward pass for all, so that BatchNorm sees the mixture.
            logits = context.forward(torch.cat([x for _, x, _ in parts])).logits
            of_parts = torch.split(logits, [len(y) for _, _, y in parts])
            losses = [
                count / total * F.cross_entropy(z, y)
                for (count, _, y), z in zip(parts, of_parts, strict=True)
            ]
            return torch.stack(losses).sum()

        steps = math.ceil(total / size)
        batch_sizes = {role: math.ceil(count / steps) for role, count in counts.items()}
        moved = int((labels != task.source("forget").labels.cpu()).sum())
        name = f"{self.name}, the attack moved {moved} of {len(labels)}"
        yield self.fit(Phase(Objective.of(mixed), batch_sizes), name=name)


def adversarial(task: Task, radius: float, steps: int) -> tuple[Tensor, Tensor]:
    """Find for each forget row a near input that the model gives another class.

    Returns: inputs (N, ...) float32 and the model's classes for them (N,) int64, on the CPU.
    """
    model, source = task.teacher(), task.source("forget")
    results = []
    for slots in torch.split(torch.arange(len(source)), BATCH):
        slots = slots.to(source.labels.device)
        x = task.data.views.evaluate(source.fetch(slots).to(task.device)).detach()
        scale, *bounds = (v.to(x.device) for v in pixel_units(task.data, x.ndim))

        def classify(pixels: Tensor, scale: Tensor = scale) -> Tensor:
            logits: Tensor = model(pixels / scale).logits
            return logits

        near, classes = attack(
            classify,
            x * scale,
            source.labels[slots].to(task.device),
            radius=radius,
            steps=steps,
            bounds=bounds,
            charge=lambda count: task.charge(count, grad=True),
        )
        results.append(((near / scale).cpu(), classes.cpu()))
    inputs, labels = zip(*results, strict=True)
    return torch.cat(inputs), torch.cat(labels)


def pixel_units(data: Data, dimensions: int) -> tuple[Tensor, Tensor, Tensor]:
    """Describe the inputs of a model in pixels of 0..1 that are shifted by the mean.

    Returns: what an input is multiplied by, and the smallest and the largest value of the product;
        each has *dimensions* - 1 axes, and a number for each channel or one for all.
    """
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    if isinstance(data.views, Views) and "N" in data.views.letters:
        mean, std = data.views.mean, data.views.std
    shape = (-1, *[1] * (dimensions - 2))
    scale, lowest = (torch.tensor(v).view(shape) for v in (std, [-m for m in mean]))
    if isinstance(data.views, Views) and data.dtype == torch.uint8:
        return scale, lowest, lowest + 1
    return scale, torch.full_like(lowest, -math.inf), torch.full_like(lowest, math.inf)


def attack(
    classify: Callable[[Tensor], Tensor],
    x: Tensor,
    true: Tensor,
    *,
    radius: float,
    steps: int,
    bounds: Sequence[Tensor],
    charge: Callable[[int], None] = lambda count: None,
) -> tuple[Tensor, Tensor]:
    """Move every row of *x* along the gradient of its loss until its class changes.

    Args:
        classify: computes logits (B, K) from rows like those of *x* (B, ...).
        true: the class (B,) from which the rows shall move away.
        radius, steps: as in `Amun`.
        bounds: the smallest and the largest value of a pixel.
        charge: called in each step with the number of rows that it computes.

    Returns: the moved rows and the classes that *classify* gives them.

    >>> line = torch.tensor([[1.0, -1.0]])
    >>> x, y = torch.tensor([[0.25]]), torch.tensor([0])
    >>> bounds = torch.tensor(-1.0), torch.tensor(1.0)
    >>> near, now = attack(lambda x: x @ line, x, y, radius=0.5, steps=10, bounds=bounds)
    >>> round(near.item(), 3), now.tolist()
    (-0.05, [1])
    """
    near, classes = x.clone(), true.clone()
    left = torch.arange(len(x), device=x.device)  # rows that still have their class
    for step in range(steps * (DOUBLINGS + 1)):
        reach = radius * 2 ** (step // steps)
        start = near[left].requires_grad_()
        logits = classify(start)
        charge(len(left))
        # A sum, so that the gradient of a row does not depend on its batch.
        loss = F.cross_entropy(logits, true[left], reduction="sum")
        (gradient,) = torch.autograd.grad(loss, start)
        classes[left] = logits.detach().argmax(1)
        still = classes[left] == true[left]
        left = left[still]
        if not len(left):
            break
        direction = F.normalize(gradient[still].flatten(1), dim=1).view_as(x[left])
        change = start.detach()[still] + reach / 10 * direction - x[left]
        length = change.flatten(1).norm(dim=1).clamp(min=reach)
        change = change * (reach / length).view(-1, *[1] * (x.ndim - 1))
        near[left] = (x[left] + change).clamp(*bounds)
    return near, classes
