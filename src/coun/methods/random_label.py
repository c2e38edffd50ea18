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

from coun.engine import Fit, Phase, Stage, Task
from coun.methods.finetune import FineTune
from coun.objectives import BatchContext, Objective, cross_entropy
from coun.plans.method import FROZEN


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

        def relabelled(context: BatchContext, logits: Tensor) -> Tensor:
            labels = wrong[context.rows("forget")]
            if self.labels != "fixed":
                labels = torch.randint(classes, labels.shape, generator=context.generator("labels"))
            return F.cross_entropy(logits, labels.to(logits.device))

        if self.labels == "per_batch":
            forget = Objective.of(
                lambda context: relabelled(context, context.outputs("forget").logits)
            )
            keep = Phase(cross_entropy("retain"), {"retain": size})
            return replace(self.train(forget), phases=(Phase(forget, {"forget": size}), keep))

        counts = {role: len(task.rows(role)) for role in ("retain", "forget")}
        share = counts["forget"] / sum(counts.values())

        def mixed(context: BatchContext) -> Tensor:
            # One forward, so that BatchNorm sees the mixture.
            logits = context.forward(torch.cat([context.inputs(role) for role in counts])).logits
            retain, forget = torch.split(logits, [len(context.labels(role)) for role in counts])
            kept = F.cross_entropy(retain, context.labels("retain"))
            return (1 - share) * kept + share * relabelled(context, forget)

        steps = math.ceil(sum(counts.values()) / size)
        batch_sizes = {role: math.ceil(count / steps) for role, count in counts.items()}
        objective = Objective.of(mixed)
        return replace(self.train(objective), phases=(Phase(objective, batch_sizes),))
