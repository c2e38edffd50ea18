"""Unrolling SGD: undo the effect of the forget rows, to first order, in one step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from coun.engine import Edit, Stage, Task, mean_gradient
from coun.engine.batches import steps_per_epoch
from coun.methods.retrain import Retrain
from coun.plans.method import FROZEN, Method, Positive
from coun.seeds import Seeds


@dataclass(frozen=True, config=FROZEN)
class Unrolling(Method):
    """Add the gradient of the forget rows at the initial weights once (single-gradient unlearning).

    To first order, each of the m epochs moved the weights by eta / B times the gradient of a
    row at the initial weights. This movement is added back. After one plain SGD step on the
    full batch this is exact: it is the same step without the forget rows, with the weight of
    the others unchanged.

    Formula: theta_u = theta_T + eta * m * sum over forget rows of grad CE(theta_0) / B, where B is
        the batch size, at most the number of all rows.
    Cost: one forward and one backward pass of the forget rows.
    Limits: the error grows with every step, so the method is meant for a short training from given
        weights (`coun.train(data, module)`). It needs the initial weights.
    Source: Thudi et al., EuroS&P 2022, section 5, for plain SGD; its code trains with momentum and
        in places takes gradients at the final weights.
    Differences: eta is the mean learning rate, views are plain, and BatchNorm uses batch
        statistics. Momentum, which makes the effect of a step 1 / (1 - momentum) times larger, is
        left out as in the paper: see `scale`.
    """

    name: ClassVar[str] = "unrolling"
    source: ClassVar[str] = "Unrolling SGD, Thudi et al., EuroS&P 2022"
    reads: ClassVar[frozenset[str]] = frozenset({"forget"})
    trains: ClassVar[bool] = False
    needs_original: ClassVar[bool] = True

    epochs: Positive | None = Field(
        None, description="Number of epochs to undo, m. Default: inherited from the Original."
    )
    lr: float | None = Field(
        None,
        gt=0,
        description="Learning rate, eta. Default: the mean learning rate of the Original.",
    )
    batch_size: Positive | None = Field(
        None, description="Batch size, B. Default: inherited from the Original."
    )
    scale: float = Field(1.0, gt=0, description="Factor on the whole step.")

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        recipe = Retrain(**task.original["settings"])
        rows, size = len(task.data.train), self.batch_size or recipe.batch_size
        total = recipe.epochs * steps_per_epoch(rows, recipe.batch_size)
        rate = recipe.optimization().rate
        eta = self.lr or sum(rate(done / total) for done in range(total)) / total
        past = replace(task, seeds=Seeds(task.original["seed"]).fork("original"))
        past.classifier = task.teacher(past.fresh("original")).requires_grad_(True)
        for module in past.classifier.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                # Without running statistics BatchNorm uses those of the batch in eval mode too.
                module.running_mean = module.running_var = None
        trained = {name for name, p in model.named_parameters() if p.requires_grad}
        gradient = {
            name: value
            for name, value in mean_gradient(past, "forget", batch_size=size).items()
            if name in trained
        }
        step = self.scale * eta * (self.epochs or recipe.epochs)
        step *= len(task.indices("forget")) / min(size, rows)
        yield Edit("undo the forget gradient", lambda m: add(m, step, gradient))


@torch.no_grad()
def add(model: nn.Module, step: float, direction: dict[str, Tensor]) -> None:
    """Move the parameters named in *direction* by *step* times it, in place."""
    for name, value in direction.items():
        model.get_parameter(name).add_(value, alpha=step)
