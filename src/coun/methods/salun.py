"""SalUn: random labels, training only the weights that matter to the forget rows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from coun.engine import Stage, Task, batch_gradients
from coun.methods.random_label import RandomLabel
from coun.plans.masks import top_k_masks
from coun.plans.method import FROZEN


@dataclass(frozen=True, config=FROZEN)
class SalUn(RandomLabel):
    """Train with random labels, but only the most salient weights (SalUn).

    Only the weights that matter most to the forget rows are trained, with random labels for
    these rows and the true labels for retain rows. All other weights stay bit-identical;
    BatchNorm statistics move.

    Formula: m keeps the largest |sum over forget batches of grad CE(forget)|, over all parameters
        together; then L of `random_label` with gradients on m only.
    Cost: that of `random_label`, and one forward and one backward pass of the forget rows for the
        saliency.
    Limits: as for `random_label`: rows end unusually wrong. A small fraction limits the damage and
        the forgetting alike.
    Source: Fan et al., ICLR 2024, section 4, and its code since February 2026: fraction 0.5,
        learning rate 0.013, 10 epochs; CoUn tunes the fraction in 0.1..1. The default recipe is
        that of CoUn, section 4.1.
    Differences: earlier code of the authors masked gradients only, so weight decay and momentum
        moved masked weights. Its gradients are of augmented images, ours of plain ones in eval
        mode.
    """

    name: ClassVar[str] = "salun"
    source: ClassVar[str] = "SalUn, Fan et al., ICLR 2024"

    fraction: float = Field(
        0.5,
        gt=0,
        le=1,
        description="Share of all weights that may move; at 1 the method is random_label.",
    )

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        _, size = self.budget()
        yield self.stage(task, salient(task, self.fraction, size) if self.fraction < 1 else None)


def salient(task: Task, fraction: float, batch_size: int) -> dict[str, Tensor]:
    """Return masks, True at the floor(fraction * P) of all P weights of largest forget gradient."""
    total: dict[str, Tensor] = {}
    for _, gradients in batch_gradients(task, "forget", batch_size=batch_size):
        total = {name: total[name] + g if total else g for name, g in gradients.items()}
    size = sum(g.numel() for g in total.values())
    return top_k_masks(total, math.floor(fraction * size))
