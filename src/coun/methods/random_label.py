"""RL: train the forget set on random labels, and the retain set on its own."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from coun.engine import Fit, Pass, Stage, Task
from coun.methods.finetune import FineTune
from coun.methods.method import FROZEN
from coun.objectives import Objective, Step, cross_entropy


@dataclass(frozen=True, config=FROZEN)
class RandomLabel(FineTune):
    """Fine-tune on both sets, with random labels for the forget set (RL).

    Labels are drawn beside the data, which stays as it is. Where both sets are mixed, each
    batch holds its share of either and every row weighs the same (public code shuffles the
    concatenated sets, so that shares vary); the contrastive module still sees retain rows only.

    Source: Golatkar et al., CVPR 2020, as SalUn (Fan et al., ICLR 2024) runs it: per_batch for
        CIFAR-10 and SVHN, per_epoch for CIFAR-100 and TinyImageNet, lr 0.01, 10 epochs; RUM lr
        0.1. fixed is what SSD's code calls amnesiac: 3 epochs of Adam at 1e-4. The recipe by
        default is CoUn's, section 4.1.
    """

    name: ClassVar[str] = "random_label"
    source: ClassVar[str] = "RL, Golatkar et al., CVPR 2020; Fan et al., ICLR 2024"
    reads: ClassVar[frozenset[str]] = frozenset({"retain", "forget"})

    labels: Literal["per_batch", "per_epoch", "fixed"] = Field(
        "per_batch",
        description="per_batch: uniform over all classes, a forget pass then a retain pass; "
        "per_epoch: uniform, both sets in each batch; fixed: so mixed, one wrong label a row",
    )

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        yield self.stage(task)

    def stage(self, task: Task) -> Fit:
        """The one stage, with passes as `labels` says."""
        _, size = self.budget()
        classes = len(task.data.classes)
        true = task.source("forget").labels.cpu()
        shift = torch.randint(1, classes, true.shape, generator=task.seeds.torch("labels"))
        wrong = (true + shift) % classes

        def relabelled(step: Step, logits: Tensor) -> Tensor:
            labels = wrong[step.rows("forget")]
            if self.labels != "fixed":
                labels = torch.randint(classes, labels.shape, generator=step.generator("labels"))
            return F.cross_entropy(logits, labels.to(logits.device))

        if self.labels == "per_batch":
            forget = Objective.of(lambda step: relabelled(step, step.outputs("forget").logits))
            passes = Pass(forget, {"forget": size}), Pass(cross_entropy("retain"), {"retain": size})
            return replace(self.train(forget), passes=passes)

        counts = {role: len(task.rows(role)) for role in ("retain", "forget")}
        share = counts["forget"] / sum(counts.values())

        def mixed(step: Step) -> Tensor:
            # One forward, so that BatchNorm sees the mixture.
            logits = step.forward(torch.cat([step.inputs(role) for role in counts])).logits
            retain, forget = torch.split(logits, [len(step.labels(role)) for role in counts])
            kept = F.cross_entropy(retain, step.labels("retain"))
            return (1 - share) * kept + share * relabelled(step, forget)

        updates = math.ceil(sum(counts.values()) / size)
        draws = {role: math.ceil(count / updates) for role, count in counts.items()}
        objective = Objective.of(mixed)
        return replace(self.train(objective), passes=(Pass(objective, draws),))
