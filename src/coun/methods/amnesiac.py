"""Amnesiac unlearning: subtract the training updates that forget rows took part in."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from coun.engine import Compute, Edit, Engine, Stage, Task
from coun.engine.process_group import ProcessGroup
from coun.errors import CounError
from coun.methods.retrain import Retrain
from coun.methods.unrolling import add
from coun.models import copy_model
from coun.objectives import cross_entropy
from coun.objectives.context import Batch
from coun.plans.method import FROZEN, Training
from coun.seeds import Seeds


@dataclass(frozen=True, config=FROZEN)
class Amnesiac(Training):
    """Subtract the training updates of all batches with forget rows, then fine-tune (amnesiac).

    If a batch held a forget row, its whole update is undone, as if the step had not been made.
    Fine-tuning then repairs what the other rows of these batches had taught.

    Formula: theta = theta_T - sum of the updates of all batches with a forget row; then L =
        CE(retain).
    Cost: the training is replayed from its seed, which costs, and is charged, as much as the
        training did; then that of fine-tuning. A resumed run replays it again.
    Limits: with many forget rows nearly every batch holds one, so little more than the initial
        weights is left and fine-tuning must do all the work: the method is meant for few rows. It
        works with one process only.
    Source: Graves et al., AAAI 2021, section 4.2; the fine-tuning has CoUn's recipe.
    Differences: the authors store the updates during training; here the training is replayed
        instead. BatchNorm statistics are not changed. What SSD's code calls amnesiac is
        random_label with labels=fixed.
    """

    name: ClassVar[str] = "amnesiac"
    source: ClassVar[str] = "Amnesiac Machine Learning, Graves et al., AAAI 2021"
    reads: ClassVar[frozenset[str]] = frozenset({"retain", "forget"})
    needs_original: ClassVar[bool] = True

    repair: bool = Field(True, description="Whether to fine-tune on the retain rows afterwards.")
    tolerance: float = Field(
        1e-3,
        ge=0,
        description="Largest allowed distance between the replayed and the given weights, relative "
        "to the norm of the weights.",
    )

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        updates, distance = replay(task)
        if distance > self.tolerance:
            raise CounError(
                f"replaying the Original's training ends at a relative distance of {distance:.2g} "
                f"from the given model; expected at most {self.tolerance:g}; start from the "
                "Original itself, on the machine that trained it"
            )
        yield Edit("take back updates", lambda m: add(m, -1.0, updates))
        if self.repair:
            yield self.fit(cross_entropy("retain"))


def replay(task: Task) -> tuple[dict[str, Tensor], float]:
    """Replay the Original's training and sum up the updates of batches with a forget row.

    Returns: the sum, by parameter name, and the distance between the replayed weights and those
        of the model in training, relative to the norm of the latter.
    """
    if ProcessGroup.current().count > 1:
        raise CounError(
            "amnesiac replays the training in one process, but torchrun started several; run it "
            "without torchrun"
        )
    seeds = Seeds(task.original["seed"]).fork("original")
    model = copy_model(task.classifier)
    past = Task(task.data, None, seeds, task.reads, model, task.build, task.device, task.flops)
    weights, forget = dict(model.inner.named_parameters()), task.indices("forget")
    total = {name: torch.zeros_like(p) for name, p in weights.items()}

    @contextlib.contextmanager
    def observe(batches: dict[str, Batch]) -> Iterator[None]:
        # Without a request all rows have role "retain", so slots are positions in data.train.
        slots = batches["retain"].slots
        affected = slots is not None and bool(torch.isin(slots, forget).any())
        before = {n: p.detach().clone() for n, p in weights.items()} if affected else {}
        yield
        for name, old in before.items():
            total[name] += weights[name].detach() - old

    compute = Compute.choose(str(task.device), flops=task.flops)
    recipe = Retrain(**task.original["settings"])
    Engine(past, compute, observe=observe).run(recipe.plan(model.inner, past))
    task.charge(past.cost.trained_images, grad=True)
    with torch.no_grad():
        parameters = dict(task.classifier.inner.named_parameters())
        squared = sum(float((parameters[n] - p).square().sum()) for n, p in weights.items())
        return total, (squared / sum(float(p.square().sum()) for p in parameters.values())) ** 0.5
