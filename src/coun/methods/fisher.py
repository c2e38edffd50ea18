"""Fisher forgetting: noise on the weights that retain rows do not determine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from coun.engine import Edit, Stage, Task
from coun.engine.gradients import Gradients
from coun.plans.curvature import fisher_diagonal
from coun.plans.method import FROZEN, Method, Positive


@dataclass(frozen=True, config=FROZEN)
class Fisher(Method):
    """Add noise to each weight, more to those that retain rows need less (Fisher forgetting).

    Weights that the retain rows hardly depend on may hold what only forget rows need, and
    noise hides it. There is no training. If one whole class is forgotten, its row of the head
    becomes noise of variance 1e-3 around zero.

    Formula: theta = theta + N(0, alpha * min(1 / F, 1e3)), where F is the model's own Fisher
        information on retain rows, E sum_y p_y (d(-log p_y) / d theta)^2, averaged over the second
        axis of a tensor. For the head the cap is 1e2; the head and all vectors (BatchNorm, biases)
        get ten times as much.
    Cost: one backward pass for each of `samples` rows and each class.
    Limits: with the authors' settings a random request hardly changes the model
        (docs/results/methods.md), and more noise costs test accuracy. It is meant for whole
        classes.
    Source: Golatkar, Achille, Soatto, CVPR 2020, alpha 1e-7 to 1e-6.
    Differences: the authors' code takes every tensor whose length is the number of classes for the
        head; here it is the head alone, and at most *samples* rows drawn at random are read,
        because each row costs a backward pass for each class. Sparse's code squares gradients of
        batches of 32, which makes F about 32 times too small.
    """

    name: ClassVar[str] = "fisher"
    source: ClassVar[str] = "Golatkar et al., CVPR 2020"
    trains: ClassVar[bool] = False

    alpha: float = Field(1e-6, ge=0, description="Scale of the variance; 0 adds no noise.")
    samples: Positive = Field(1000, description="Largest number of retain rows to compute F from.")
    draws: Positive | None = Field(
        None,
        description="Labels drawn from the model's prediction for each row. Default: all classes.",
    )

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        retain = task.indices("retain")
        order = torch.randperm(len(retain), generator=task.seeds.torch("fisher"))
        role = task.define("fisher", retain[order[: self.samples]])
        fisher = fisher_diagonal(task, role, self.draws, task.seeds.torch("fisher", "labels"))
        head = {f"{task.classifier.head_name}.{part}".lstrip(".") for part in ("weight", "bias")}
        forget_class = task.split.forget_class if task.split else None
        generator = task.seeds.torch("fisher", "noise")
        noise, zero = {}, {}
        for name, value in fisher.items():
            variance = noise_variance(value, self.alpha, head=name in head)
            if forget_class is not None and name in head:
                variance[forget_class], zero[name] = 1e-3, forget_class
            drawn = torch.randn(value.shape, generator=generator).to(value.device)
            noise[name] = variance.sqrt() * drawn
        yield Edit("noise", lambda m: _add(m, noise, zero))


def noise_variance(fisher: Tensor, alpha: float, *, head: bool) -> Tensor:
    """Return the variance of the noise on one tensor, in the shape of its information *fisher*."""
    variance = alpha * (1 / (fisher + 1e-8)).clamp(max=1e2 if head else 1e3)
    if fisher.ndim > 1:
        variance = variance.mean(1, keepdim=True).expand_as(fisher).clone()
    return variance * 10 if head or fisher.ndim == 1 else variance


@torch.no_grad()
def _add(model: nn.Module, noise: Gradients, zero: dict[str, int]) -> None:
    """Set the row *zero* of the named parameters to 0, then add *noise*, in place."""
    for name, value in noise.items():
        parameter = model.get_parameter(name)
        if name in zero:
            parameter[zero[name]] = 0
        parameter.add_(value)
