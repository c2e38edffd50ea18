"""Retrain: the exact answer, from a fresh model. Also how an Original is trained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal, Self

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import nn

from coun.engine import Edit, Stage, Task
from coun.methods.finetune import FineTune
from coun.objectives import cross_entropy
from coun.plans.method import FROZEN, Positive


@dataclass(frozen=True, config=FROZEN)
class Retrain(FineTune):
    """Train a fresh model on the retain set with the original's recipe: exact, expensive.

    Source: the recipe of CoUn, section 4.1, and SalUn: SGD, lr 0.1, batch 256, 182 epochs,
    x0.1 at 50% and 75%. Matches the original in epochs, not in updates. The initialisation
    is drawn from the run's seed and the method's name, so a Retrain never starts from the
    Original's weights (SalUn's code reuses the seed and gives both the same start).
    """

    name: ClassVar[str] = "retrain"
    exact: ClassVar[bool] = True
    source: ClassVar[str] = "the definition of exact unlearning; recipe of CoUn, section 4.1"

    epochs: Positive = Field(182, description="passes over the training rows")
    batch_size: Positive = Field(256, description="images an update")
    lr: float = Field(0.1, gt=0, description="peak learning rate")
    schedule: Literal["cosine", "multistep", "constant"] = Field(
        "multistep", description="multistep x0.1 at 50% and 75%; cosine; constant"
    )
    lr_floor: float = Field(0.0, ge=0, description="learning rate at the end of a cosine")

    def with_defaults_from(self, original: object) -> Self:
        return self

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        purpose = "original" if task.split is None else "retrain"
        weights = task.fresh(purpose).state_dict()
        yield Edit("fresh initialisation", lambda m: _assign(m, weights))
        yield self.train(cross_entropy("retain"))


def _assign(model: nn.Module, weights: dict[str, object]) -> None:
    model.load_state_dict(weights, strict=True)
