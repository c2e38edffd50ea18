"""SalUn: random labels, moving only the weights that matter to the forget set."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from coun.engine import Stage, Task, batch_gradients
from coun.methods.random_label import RandomLabel
from coun.plans.masks import largest
from coun.plans.method import FROZEN


@dataclass(frozen=True, config=FROZEN)
class SalUn(RandomLabel):
    """Random-label training of the most salient weights only (SalUn).

    Saliency is |sum over forget batches of the mean loss's gradient|, in eval mode, ranked over
    all parameters at once, BatchNorm's and biases included. All other entries stay
    bit-identical; BatchNorm statistics move.

    Source: Fan et al., ICLR 2024, section 4, and its code since February 2026: fraction 0.5, lr
        0.013, 10 epochs; CoUn tunes the fraction in 0.1..1. Earlier code masked gradients
        only, so weight decay and momentum moved masked weights. Its gradients see augmented
        images, ours plain ones. The recipe by default is CoUn's, section 4.1.
    """

    name: ClassVar[str] = "salun"
    source: ClassVar[str] = "SalUn, Fan et al., ICLR 2024"

    fraction: float = Field(
        0.5, gt=0, le=1, description="share of all weights that may move; 1: plain random_label"
    )

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        _, size = self.budget()
        mask = None
        if self.fraction < 1:
            mask = salient(task, self.fraction, size)
        yield replace(self.stage(task), mask=mask)


def salient(task: Task, fraction: float, batch_size: int) -> dict[str, Tensor]:
    """True at the floor(fraction * P) of all P weights with the largest forget gradient."""
    total: dict[str, Tensor] = {}
    for _, found in batch_gradients(task, "forget", batch_size=batch_size):
        total = {name: total[name] + g if total else g for name, g in found.items()}
    size = sum(g.numel() for g in total.values())
    return largest(total, math.floor(fraction * size))
