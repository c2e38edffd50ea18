"""SSD: shrink the weights that matter more to the forget set than to all data."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import ClassVar, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from coun.engine import Edit, Stage, Task, batch_gradients
from coun.engine.gradients import Gradients
from coun.models import Outputs
from coun.plans.method import FROZEN, Method, Positive


@dataclass(frozen=True, config=FROZEN)
class SSD(Method):
    """Dampen the weights that are far more important to the forget set than to all data (SSD).

    Importance: the mean, over batches, of the squared gradient of the batch's mean loss.
    Where I_forget > selection * I_all, a weight is multiplied by
    min(dampening * I_all / I_forget, 1). No training.

    Source: Foster, Schoepf, Brintrup, AAAI 2024: selection 10, dampening 1 (Pins: 50 and
        0.1). "label_free" is LFSSD (Foster et al., 2024): |gradient of the mean |logits|^2|.
        A batch gradient's square depends on the batch's size, and the authors' sizes differ
        (128 against the data set's own); here both sides take whole batches of one size, in
        shuffled order. Tune *selection* first: by default a random 10% of CIFAR-10 is hardly
        touched, as published, while a small network on digits loses most of its accuracy.
    """

    name: ClassVar[str] = "ssd"
    source: ClassVar[str] = "Foster et al., AAAI 2024"
    reads: ClassVar[frozenset[str]] = frozenset({"retain", "forget"})
    trains: ClassVar[bool] = False

    selection: float = Field(
        10.0, ge=0, description="alpha: how many times as important a weight must be; inf: none is"
    )
    dampening: float = Field(1.0, ge=0, description="lambda: scales what is left of it")
    importance: Literal["squared_gradient", "label_free"] = Field(
        "squared_gradient", description="of the loss; or label_free: needs no labels"
    )
    batch_size: Positive = Field(
        128, description="images a gradient, on both sides; at most the forget rows"
    )

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        forget = task.rows("forget")
        everything = torch.cat([task.rows("retain"), forget])
        size = min(self.batch_size, len(forget))
        whole, part = (
            self._importance(task, name, rows, size)
            for name, rows in (("all, shuffled", everything), ("forget, shuffled", forget))
        )
        yield Edit("dampen", lambda m: dampen(m, whole, part, self.selection, self.dampening))

    def _importance(self, task: Task, name: str, rows: Tensor, size: int) -> Gradients:
        """Importance of every weight over *rows*, less those that fill no batch of *size*."""
        count = len(rows) // size
        order = torch.randperm(len(rows), generator=task.seeds.torch("ssd", name))
        role = task.define(name, rows[order[: count * size]])
        total: Gradients = {}
        free = self.importance == "label_free"
        gradients = partial(batch_gradients, loss=_energy) if free else batch_gradients
        for _, found in gradients(task, role, batch_size=size):
            for key, g in found.items():
                value = (g.abs() if free else g.square()) / count
                total[key] = total[key] + value if key in total else value
        return total


def _energy(out: Outputs, labels: Tensor) -> Tensor:
    return out.logits.square().sum(1).mean()


@torch.no_grad()
def dampen(
    model: nn.Module, whole: Gradients, part: Gradients, selection: float, dampening: float
) -> None:
    """Shrink in place the weights whose importance *part* exceeds *selection* times *whole*."""
    for name, i in part.items():
        weight, i_all = model.get_parameter(name), whole[name]
        factor = (dampening * i_all / i).clamp(max=1)  # 0 / 0 is not selected
        weight.copy_(torch.where(i > selection * i_all, weight * factor, weight))
