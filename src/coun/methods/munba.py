"""MUNBa: a bargain between forgetting and keeping decides the direction of every step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from coun.engine import Phase, Stage, Task
from coun.engine.batches import steps_per_epoch
from coun.methods.projection import along, dot
from coun.objectives import BatchContext, Objective, cross_entropy
from coun.plans.method import FROZEN, LearningRate, RetainEpochs, Schedule, Training

FALLBACK = 0.1  # weight of the forget gradient where the two cannot agree


@dataclass(frozen=True, config=FROZEN)
class MUNBa(Training):
    """Step along the Nash bargaining solution of the retain and the forget gradient (MUNBa).

    Keeping and forgetting bargain over every step: it is the one that maximises the product of
    what both gain, so that neither can gain more without harming the other. Forgetting means
    cross entropy to random labels.

    Formula: the step g maximises log <g_r, g> + log <g_f, g>, where g_r and g_f are the gradients
        of the two losses. The solution points along the bisector of the unit gradients and has
        length sqrt(2), which is cut to `max_norm`. Where the gradients point against each other
        there is nothing to agree on, and the step is g_r + 0.1 g_f. An epoch bargains once over
        each forget batch, and then trains on the other retain batches.
    Cost: one forward and one backward pass of every retain and forget row in each epoch.
    Limits: the length of a step does not fall with the losses, so the training settles only with a
        schedule that falls, such as `schedule=cosine`. Random labels forget too much where a
        Retrain still predicts the rows correctly. It needs the forget rows.
    Source: Wu, Harandi, "MUNBa: Machine Unlearning via Nash Bargaining", ICCV 2025
        (arXiv 2411.15537), and its code: SGD at 0.01, which stays constant for 10 epochs, gradients
        cut to length 1.
    Differences: the code computes the two weights alpha_i, with alpha_i <g_i, alpha_1 g_1 +
        alpha_2 g_2> = 1, by formulas with 1e-8 against division by 0; here the bisector is used,
        which is the same. Only where the retain gradient is shorter than about 0.03 does the 1e-8
        matter: the code then gives it less weight, or calls the bargain failed. The retain batches
        of the second phase are drawn apart from those of the first.
    """

    name: ClassVar[str] = "munba"
    source: ClassVar[str] = "MUNBa, Wu and Harandi, ICCV 2025"
    reads: ClassVar[frozenset[str]] = frozenset({"retain", "forget"})

    epochs: RetainEpochs = Field(10)
    lr: LearningRate = Field(0.01)
    schedule: Schedule = Field("constant")
    max_norm: float = Field(1.0, gt=0, description="Largest length of a bargained step.")

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        _, size = self.budget()
        classes = len(task.data.classes)

        def bargain(context: BatchContext) -> Tensor:
            weights = [p for p in context.model.parameters() if p.requires_grad]
            drawn = torch.randint(
                classes, (len(context.labels("forget")),), generator=context.generator("labels")
            )
            # The retain batch first, as in the authors' code: BatchNorm weighs the last most.
            retain = F.cross_entropy(context.outputs("retain").logits, context.labels("retain"))
            logits = context.outputs("forget").logits
            forget = F.cross_entropy(logits, drawn.to(logits.device))
            # Other terms may use the same forward passes, so their graphs are kept.
            g, f = (
                torch.autograd.grad(loss, weights, retain_graph=True, materialize_grads=True)
                for loss in (retain, forget)
            )
            return along(weights, nash_step(g, f, self.max_norm), retain + forget)

        lengths = {r: steps_per_epoch(len(task.indices(r)), size) for r in ("forget", "retain")}
        rest = max(0, lengths["retain"] - lengths["forget"])
        yield self.fit(
            Phase(Objective.of(bargain), {"forget": size, "retain": size}),
            Phase(cross_entropy("retain"), {"retain": size}, steps=rest),
        )


def nash_step(
    retain: Sequence[Tensor], forget: Sequence[Tensor], max_norm: float = float("inf")
) -> list[Tensor]:
    """Compute the Nash bargaining step of two gradients, each a list that stands for one vector.

    >>> step = nash_step([torch.tensor([2.0, 0.0])], [torch.tensor([0.0, 5.0])])
    >>> step[0].tolist()
    [1.0, 1.0]
    """
    lengths = [dot(g, g).sqrt() for g in (retain, forget)]
    cosine = dot(retain, forget) / (lengths[0] * lengths[1]).clamp(min=1e-30)
    if bool(lengths[0] * lengths[1] == 0) or bool(1 + cosine < 1e-6):
        weights = torch.ones_like(cosine), torch.full_like(cosine, FALLBACK)
    else:
        weights = tuple(1 / (length * (1 + cosine).sqrt()) for length in lengths)  # type: ignore[assignment]
    step = [weights[0] * r + weights[1] * f for r, f in zip(retain, forget, strict=True)]
    factor = (max_norm / dot(step, step).sqrt().clamp(min=1e-30)).clamp(max=1)
    return [factor * s for s in step]
