"""l1-sparse: fine-tune with a penalty on the absolute values of the weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from coun.engine import Stage, Task
from coun.methods.finetune import FineTune
from coun.objectives import BatchContext, Objective, cross_entropy
from coun.plans.method import FROZEN, Positive


@dataclass(frozen=True, config=FROZEN)
class L1Sparse(FineTune):
    """Fine-tune on the retain rows with a decreasing l1 penalty on all weights (l1-sparse).

    The penalty makes many weights small, and a sparse model has less room to remember single
    rows. Nothing is pruned.

    Formula: L = CE(retain) + gamma_t * |theta|_1, over all parameters, including those of BatchNorm
        and biases; gamma_t decreases linearly from gamma to 0.
    Cost: that of fine-tuning; the penalty itself is negligible.
    Limits: a gamma that is too large destroys the network: 0.2, the value in the authors' code,
        does. Tune gamma first.
    Source: Jia et al., NeurIPS 2023, section 4: learning rate 0.01, 10 epochs, gamma 5e-4 in common
        use. CoUn tunes gamma in 1e-4..0.1 and ends the penalty after 4 of 50 epochs (until=4); its
        recipe, section 4.1, is the default.
    Differences: gamma decreases here with every step. In the authors' code it decreases with every
        epoch (decay=epoch), so that the penalty is (E + 1)/E times as strong in E epochs.
    """

    name: ClassVar[str] = "l1_sparse"
    source: ClassVar[str] = "l1-sparse, Jia et al., NeurIPS 2023"

    gamma: float = Field(5e-4, ge=0, description="Initial weight of the penalty.")
    until: Positive | None = Field(
        None, description="Epochs after which the penalty has reached 0. Default: all epochs."
    )
    decay: Literal["step", "epoch"] = Field(
        "step",
        description="When the penalty decreases: with every step, or, as in the authors' code, "
        "after every epoch.",
    )

    def settings(self) -> dict[str, Any]:
        settings = super().settings()
        # Left out where it is not set, so that records and hashes of 0.1 stay as they are.
        if self.decay == "step":
            del settings["decay"]
        return settings

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        epochs, _ = self.budget()
        speed = epochs / (self.until or epochs)

        def weight(progress: float) -> float:
            if self.decay == "epoch":
                # Steps are counted exactly, but their fraction of the run may fall short of it.
                progress = math.floor(progress * epochs + 1e-6) / epochs
            return self.gamma * max(0.0, 1 - progress * speed)

        yield self.fit(cross_entropy("retain") + weight * Objective.of(l1_norm))


def l1_norm(context: BatchContext) -> Tensor:
    """Return the sum of the absolute values of all parameters of the model in training."""
    return torch.stack([p.abs().sum() for p in context.model.parameters()]).sum()
