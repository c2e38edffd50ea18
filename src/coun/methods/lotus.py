"""LoTUS: soften what the Original predicts for forget rows until it is as unsure as elsewhere."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from coun.engine import Phase, Stage, Task, predict
from coun.metrics import accuracy
from coun.objectives import BatchContext, Objective
from coun.plans.epochs import error_rate, one_stage_per_epoch
from coun.plans.method import (
    FROZEN,
    LearningRate,
    OptimizerKind,
    Positive,
    Schedule,
    Training,
)


@dataclass(frozen=True, config=FROZEN)
class LoTUS(Training):
    """Distil the Original, with smoothed predictions for forget rows only (LoTUS).

    The model is trained on what the Original predicts, but for forget rows these predictions are
    smoothed, the more so the better the model knows these rows. Held-out rows say how well a
    model predicts rows that it never saw, and end the training. They are a fixed half of the test
    rows, which every measurement of the result leaves out.

    Formula: L = CE to targets; the target of a forget row is gumbel_softmax(z, tau), where z are
        the Original's logits, and that of a retain row is a class drawn from softmax(z). Before
        every epoch tau = exp(alpha * d), where d is the accuracy on forget rows minus the
        Original's on held-out rows; a class that is forgotten whole counts with an accuracy of 0.
        The training ends when d is at most `stop`. Both sets are mixed in every batch, and every
        epoch is a stage of its own (`one_stage_per_epoch`).
    Cost: one forward and one backward pass, and one forward pass of the Original, of every forget
        row and of a share of the retain rows in each epoch; a forward pass of the forget rows
        before each epoch, and of the held-out rows once.
    Limits: where the Original does not overfit, the training ends at once and nothing changes. A
        smoothed target keeps the Original's order of classes, so forget rows become unsure rather
        than wrong. It needs the forget rows and held-out rows.
    Source: Spartalis et al., "LoTUS: Large-Scale Machine Unlearning with a Taste of Uncertainty",
        CVPR 2025, and the defaults of its code: AdamW at 1e-4, weight decay 5e-4, batches of 128,
        alpha 1, 30% of the retain rows, stop at -1 point. 10 epochs are our choice.
    Differences: in the code AdamW keeps its state between epochs, and the held-out rows come from
        the training set.
    """

    name: ClassVar[str] = "lotus"
    source: ClassVar[str] = "LoTUS, Spartalis et al., CVPR 2025"
    reads: ClassVar[frozenset[str]] = frozenset({"retain", "forget", "held_out"})

    epochs: Positive | None = Field(10, description="Largest number of passes over the rows.")
    batch_size: Positive | None = Field(128, description="Rows per step, of both sets together.")
    lr: LearningRate = Field(1e-4)
    schedule: Schedule = Field("constant")
    optimizer: OptimizerKind = Field("adamw")
    alpha: float = Field(1.0, ge=0, description="How fast the temperature grows with d.")
    share: float = Field(0.3, gt=0, le=1, description="Share of the retain rows, drawn once.")
    stop: float = Field(
        -1.0,
        allow_inf_nan=False,
        description="Accuracy on forget rows minus that on held-out rows, in points, at which "
        "the training ends.",
    )

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        _, size = self.budget()
        teacher, reference = task.teacher(), expected_accuracy(task)
        retain = task.indices("retain")
        drawn = torch.randperm(len(retain), generator=task.seeds.torch("retain share"))
        count = max(1, round(self.share * len(retain)))
        part = task.define("retain share", retain[drawn[:count]])
        counts = {"retain": count, "forget": len(task.indices("forget"))}
        steps = math.ceil(sum(counts.values()) / size)
        batch_sizes = {role: math.ceil(number / steps) for role, number in counts.items()}

        def phase(tau: float) -> Phase:
            def term(context: BatchContext) -> Tensor:
                targets = [
                    gumbel_softmax(
                        context.outputs(role, model=teacher).logits,
                        context.generator(f"gumbel, {role}"),
                        tau if role == "forget" else 0.0,
                    )
                    for role in counts
                ]
                # One forward pass for both sets, so that BatchNorm sees the mixture.
                logits = context.forward(torch.cat([context.inputs(r) for r in counts])).logits
                return F.cross_entropy(logits, torch.cat(targets))

            return Phase(Objective.of(term), batch_sizes, roles={"retain": part})

        for stage in one_stage_per_epoch(self.fit(phase(1.0))):
            difference = (100 - error_rate(task, "forget")) - reference
            if difference <= self.stop:
                return
            tau = math.exp(self.alpha * difference / 100)
            yield replace(stage, phases=(phase(tau),), name=f"{stage.name}, tau {tau:.3f}")


def expected_accuracy(task: Task) -> float:
    """Estimate, in percent, how often a model that never saw the forget rows gets them right."""
    assert task.held_out is not None
    rows = task.held_out
    task.charge(len(rows), grad=False)
    unseen = accuracy(predict(task.classifier, task.data, rows).logits, rows.labels.cpu())
    labels = task.data.train.labels.cpu()
    present = torch.isin(labels[task.indices("forget")], labels[task.indices("retain")])
    return unseen * float(present.double().mean())


def gumbel_softmax(logits: Tensor, generator: torch.Generator, tau: float) -> Tensor:
    """Draw softmax((logits + Gumbel noise) / tau), (N, K); at 0 the class that it tends to.

    >>> logits = torch.tensor([[9.0, 0.0]])
    >>> gumbel_softmax(logits, torch.Generator().manual_seed(0), 0.0).tolist()
    [[1.0, 0.0]]
    """
    noise = -torch.empty(logits.shape).exponential_(generator=generator).log()
    noisy = logits + noise.to(logits)
    if tau == 0:
        return F.one_hot(noisy.argmax(1), logits.shape[1]).to(logits)
    return (noisy / tau).softmax(1)
