"""RL: train forget rows on random labels, and retain rows on their own."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from coun.engine import Fit, Phase, Stage, Task
from coun.objectives import BatchContext, Objective, cross_entropy
from coun.plans.method import FROZEN
from coun.plans.two_losses import TwoLosses


@dataclass(frozen=True, config=FROZEN)
class RandomLabel(TwoLosses):
    """Fine-tune on all rows, with random labels for the forget rows (RL).

    The forget rows are learned again with wrong labels, which destroys what the model knows of
    them, while the retain rows keep theirs. The random labels exist beside the data, which is
    not changed.

    Formula: L = CE(retain and forget), where the label of a forget row is drawn at random. With
        forget_lr (DualOptim) the sets are two phases, whatever `labels` says.
    Cost: one forward and one backward pass of every retain and forget row in each epoch.
    Limits: a Retrain still predicts most forget rows correctly, and this method does not: with many
        epochs it forgets too much, and attacks may see rows that are unusually wrong. It needs the
        forget rows.
    Source: Golatkar et al., CVPR 2020, as SalUn (Fan et al., ICLR 2024) runs it: per_batch for
        CIFAR-10 and SVHN, per_epoch for CIFAR-100 and TinyImageNet, learning rate 0.01, 10 epochs;
        RUM uses learning rate 0.1. "fixed" is what SSD's code calls amnesiac: 3 epochs of Adam at
        1e-4. The default recipe is that of CoUn, section 4.1.
    Differences: where both sets are mixed, each batch holds the same share of each, and every row
        has the same weight; public code shuffles the joined sets, so that the shares vary. The
        contrastive module still sees retain rows only.
    """

    name: ClassVar[str] = "random_label"
    source: ClassVar[str] = "RL, Golatkar et al., CVPR 2020; Fan et al., ICLR 2024"
    reads: ClassVar[frozenset[str]] = frozenset({"retain", "forget"})

    labels: Literal["per_batch", "per_epoch", "fixed"] = Field(
        "per_batch",
        description="How forget labels are drawn. per_batch: uniform over all classes, in a phase "
        "over the forget rows, followed by one over the retain rows; per_epoch: uniform, with both "
        "sets mixed in every batch; fixed: mixed as well, with one wrong label per row.",
    )

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        yield self.stage(task)

    def stage(self, task: Task, mask: dict[str, Tensor] | None = None) -> Fit:
        """Make the only stage, with phases as `labels` says; *mask* is as in `Fit`."""
        _, size = self.budget()
        classes = len(task.data.classes)
        true = task.source("forget").labels.cpu()
        shift = torch.randint(1, classes, true.shape, generator=task.seeds.torch("labels"))
        wrong = (true + shift) % classes

        def relabelled(context: BatchContext, logits: Tensor) -> Tensor:
            labels = wrong[context.slots("forget")]
            if self.labels != "fixed":
                labels = torch.randint(classes, labels.shape, generator=context.generator("labels"))
            return F.cross_entropy(logits, labels.to(logits.device))

        if self.labels == "per_batch" or self.forget_lr:
            forget = Objective.of(
                lambda context: relabelled(context, context.outputs("forget").logits)
            )
            return self.fit(Phase(forget, {"forget": size}), cross_entropy("retain"), mask=mask)

        counts = {role: len(task.indices(role)) for role in ("retain", "forget")}
        share = counts["forget"] / sum(counts.values())

        def mixed(context: BatchContext) -> Tensor:
            # One forward pass for both, so that BatchNorm sees the mixture.
            logits = context.forward(torch.cat([context.inputs(role) for role in counts])).logits
            retain, forget = torch.split(logits, [len(context.labels(role)) for role in counts])
            retain_loss = F.cross_entropy(retain, context.labels("retain"))
            return (1 - share) * retain_loss + share * relabelled(context, forget)

        steps = math.ceil(sum(counts.values()) / size)
        batch_sizes = {role: math.ceil(count / steps) for role, count in counts.items()}
        return self.fit(Phase(Objective.of(mixed), batch_sizes), mask=mask)
