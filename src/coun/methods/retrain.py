"""Retrain: train a fresh model, which is the exact answer. An Original is trained this way too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from pydantic.dataclasses import dataclass
from torch import nn

from coun.engine import Edit, Stage, Task
from coun.objectives import cross_entropy
from coun.plans.method import FROZEN, FromScratch


@dataclass(frozen=True, config=FROZEN)
class Retrain(FromScratch):
    """Train a fresh model on the retain rows with the Original's recipe: exact, but expensive.

    A model that never saw the forget rows has nothing to forget. It is the answer that all
    other methods approximate, and their distance to it is measured.

    Formula: L = CE(retain), from fresh weights.
    Cost: 1, by definition.
    Limits: it costs as much as the training did, for every request.
    Source: the recipe of CoUn, section 4.1, and SalUn: SGD, learning rate 0.1, batches of 256, 182
        epochs, x0.1 at 50% and 75%. The number of epochs equals that of the Original, not the
        number of steps.
    Differences: the initial weights are drawn from the seed of the run and from the name of the
        method, so a Retrain never starts from the Original's initial weights (SalUn's code uses one
        seed for both, which gives both the same start).
    """

    name: ClassVar[str] = "retrain"
    source: ClassVar[str] = "the definition of exact unlearning; recipe of CoUn, section 4.1"

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        purpose = "original" if task.split is None else "retrain"
        weights = task.fresh(purpose).state_dict()
        yield Edit("fresh initialisation", lambda m: _assign(m, weights))
        yield self.fit(cross_entropy("retain"))


def _assign(model: nn.Module, weights: dict[str, object]) -> None:
    model.load_state_dict(weights, strict=True)
