"""SSD: shrink the weights that matter more to the forget rows than to all data."""

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
    """Dampen the weights that are far more important to the forget rows than to all data (SSD).

    Weights that matter much more to the forget rows than to all rows are made smaller. Nothing
    is trained.

    Formula: where I_forget > selection * I_all, a weight is multiplied by min(dampening * I_all /
        I_forget, 1). Importance I is the mean, over batches, of the squared gradient of the batch's
        mean loss.
    Cost: one forward and one backward pass of every row; a few percent of a Retrain.
    Limits: tune *selection* first: with the default, a random 10% of CIFAR-10 is hardly affected,
        as published, while a small network on digits loses most of its accuracy.
    Source: Foster, Schoepf, Brintrup, AAAI 2024: selection 10, dampening 1 (Pins: 50 and 0.1).
        "label_free" is LFSSD (Foster et al., 2024): |gradient of the mean |logits|^2|.
    Differences: the square of a batch gradient depends on the batch size, and the authors use two
        sizes (128 for one set, the data set's own for the other); here both sets are read in whole
        batches of one size, in shuffled order.
    """

    name: ClassVar[str] = "ssd"
    source: ClassVar[str] = "Foster et al., AAAI 2024"
    reads: ClassVar[frozenset[str]] = frozenset({"retain", "forget"})
    trains: ClassVar[bool] = False

    selection: float = Field(
        10.0,
        ge=0,
        allow_inf_nan=True,
        description="How many times more important to the forget rows a weight must be to be "
        "dampened, alpha; inf dampens none.",
    )
    dampening: float = Field(
        1.0, ge=0, description="Scale of what is left of a dampened weight, lambda."
    )
    importance: Literal["squared_gradient", "label_free"] = Field(
        "squared_gradient",
        description="Measure of importance: the squared gradient of the loss, or label_free, "
        "which needs no labels.",
    )
    batch_size: Positive = Field(
        128,
        description="Images per gradient, for both sets; at most the number of forget rows.",
    )

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        forget = task.indices("forget")
        everything = torch.cat([task.indices("retain"), forget])
        size = min(self.batch_size, len(forget))
        of_all, of_forget = (
            self._importance(task, name, indices, size)
            for name, indices in (("all, shuffled", everything), ("forget, shuffled", forget))
        )
        yield Edit("dampen", lambda m: dampen(m, of_all, of_forget, self.selection, self.dampening))

    def _importance(self, task: Task, name: str, indices: Tensor, size: int) -> Gradients:
        """Compute the importance of every weight; rows that fill no batch are left out."""
        count = len(indices) // size
        order = torch.randperm(len(indices), generator=task.seeds.torch("ssd", name))
        role = task.define(name, indices[order[: count * size]])
        total: Gradients = {}
        label_free = self.importance == "label_free"
        gradients_of = partial(batch_gradients, loss=_energy) if label_free else batch_gradients
        for _, gradients in gradients_of(task, role, batch_size=size):
            for key, g in gradients.items():
                value = (g.abs() if label_free else g.square()) / count
                total[key] = total[key] + value if key in total else value
        return total


def _energy(out: Outputs, labels: Tensor) -> Tensor:
    return out.logits.square().sum(1).mean()


@torch.no_grad()
def dampen(
    model: nn.Module,
    of_all: Gradients,
    of_forget: Gradients,
    selection: float,
    dampening: float,
) -> None:
    """Shrink in place the weights with importance *of_forget* above *selection* times *of_all*."""
    for name, i_forget in of_forget.items():
        weight, i_all = model.get_parameter(name), of_all[name]
        factor = (dampening * i_all / i_forget).clamp(max=1)  # 0 / 0 is not selected
        weight.copy_(torch.where(i_forget > selection * i_all, weight * factor, weight))
