"""SalUn: random labels, training only the weights that matter to the forget set."""

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

    Saliency is |sum over forget batches of the gradient of the mean loss|, in eval mode, ranked
    over all parameters together, including those of BatchNorm and biases. All other entries stay
    bit-identical; BatchNorm statistics move.

    Source: Fan et al., ICLR 2024, section 4, and its code since February 2026: fraction 0.5,
        learning rate 0.013, 10 epochs; CoUn tunes the fraction in 0.1..1. Earlier code masked
        gradients only, so weight decay and momentum moved masked weights. Its gradients are of
        augmented images, ours of plain ones. The default recipe is that of CoUn, section 4.1.
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
