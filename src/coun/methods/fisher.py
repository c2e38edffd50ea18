"""Fisher forgetting: noise where the retain set does not hold a weight in place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from coun.engine import Edit, Stage, Task
from coun.engine.gradients import Gradients
from coun.plans.curvature import information
from coun.plans.method import FROZEN, Method, Positive


@dataclass(frozen=True, config=FROZEN)
class Fisher(Method):
    """Add noise to each weight, the more the less the retain set needs it (Fisher forgetting).

    The variance is alpha * min(1 / F, 1e3), F the model's own Fisher information on retain
    rows: E sum_y p_y (d(-log p_y) / d theta)^2, from each sample's gradient for each class.
    It is averaged over a tensor's second axis; the head is capped at 1e2; the head and all
    vectors (BatchNorm, biases) get ten times as much. If one whole class is forgotten, its
    row of the head becomes noise of variance 1e-3 around zero. No training.

    Source: Golatkar, Achille, Soatto, CVPR 2020, alpha 1e-7 to 1e-6. Their code takes for the
        head whatever is as long as there are classes, and all rows; here it is the head, and
        *samples* rows drawn at random, because each costs a backward a class. Sparse's code
        squares gradients of batches of 32, which makes F some 32 times too small.
    """

    name: ClassVar[str] = "fisher"
    source: ClassVar[str] = "Golatkar et al., CVPR 2020"
    trains: ClassVar[bool] = False

    alpha: float = Field(1e-6, ge=0, description="scale of the variance; 0 adds no noise")
    samples: Positive = Field(1000, description="retain rows behind F, at most")
    draws: Positive | None = Field(
        None, description="labels drawn from the model's answer for each row; open: all classes"
    )

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        rows = task.rows("retain")
        drawn = torch.randperm(len(rows), generator=task.seeds.torch("fisher"))
        role = task.define("fisher", rows[drawn[: self.samples]])
        found = information(task, role, self.draws, task.seeds.torch("fisher", "labels"))
        head = {f"{task.classifier.head_name}.{part}".lstrip(".") for part in ("weight", "bias")}
        gone = task.split.forget_class if task.split else None
        generator = task.seeds.torch("fisher", "noise")
        noise, zero = {}, {}
        for name, value in found.items():
            variance = spread(value, self.alpha, head=name in head)
            if gone is not None and name in head:
                variance[gone], zero[name] = 1e-3, gone
            drawn = torch.randn(value.shape, generator=generator).to(value.device)
            noise[name] = variance.sqrt() * drawn
        yield Edit("noise", lambda m: _add(m, noise, zero))


def spread(fisher: Tensor, alpha: float, *, head: bool) -> Tensor:
    """The variance of the noise on one tensor with information *fisher*, of its shape."""
    variance = alpha * (1 / (fisher + 1e-8)).clamp(max=1e2 if head else 1e3)
    if fisher.ndim > 1:
        variance = variance.mean(1, keepdim=True).expand_as(fisher).clone()
    return variance * 10 if head or fisher.ndim == 1 else variance


@torch.no_grad()
def _add(model: nn.Module, noise: Gradients, zero: dict[str, int]) -> None:
    for name, value in noise.items():
        parameter = model.get_parameter(name)
        if name in zero:
            parameter[zero[name]] = 0
        parameter.add_(value)
