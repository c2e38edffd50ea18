"""Amnesiac unlearning: take back the training updates that forget rows took part in."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from coun.engine import Compute, Edit, Engine, Stage, Task
from coun.engine.process_group import ProcessGroup
from coun.errors import CounError
from coun.methods.finetune import FineTune
from coun.methods.retrain import Retrain
from coun.methods.unrolling import add
from coun.objectives import cross_entropy
from coun.objectives.context import Batch
from coun.plans.method import FROZEN
from coun.seeds import Seeds


@dataclass(frozen=True, config=FROZEN)
class Amnesiac(FineTune):
    """Subtract the training updates of all batches with forget rows, then repair (amnesiac).

    The authors store these updates in training. Here the training is replayed from its seed,
    which costs, and is charged, what it cost; a resumed run replays again. BatchNorm statistics
    stay. Many forget rows hit every batch, which leaves the initial weights and all the work
    to the repair: meant for few rows.

    Source: Graves et al., AAAI 2021, section 4.2; the repair is CoUn's recipe. What SSD's code
        calls amnesiac is random_label with labels=fixed.
    """

    name: ClassVar[str] = "amnesiac"
    source: ClassVar[str] = "Amnesiac Machine Learning, Graves et al., AAAI 2021"
    reads: ClassVar[frozenset[str]] = frozenset({"retain", "forget"})
    needs_original: ClassVar[bool] = True

    repair: bool = Field(True, description="fine-tune on the retain set afterwards")
    tolerance: float = Field(
        1e-3, ge=0, description="how far from the model the replay may end, relative to its norm"
    )

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        updates, off = replay(task)
        if off > self.tolerance:
            raise CounError(
                f"the Original's training, replayed, ends {off:.2g} of the model's norm away; "
                f"expected {self.tolerance:g} or less; start from the Original itself, where it ran"
            )
        yield Edit("take back updates", lambda m: add(m, -1.0, updates))
        if self.repair:
            yield self.train(cross_entropy("retain"))


def replay(task: Task) -> tuple[dict[str, Tensor], float]:
    """The sum of the updates whose batch held a forget row, by parameter name; and how far
    the replay ended from the model in training, relative to that model's norm."""
    if ProcessGroup.current().count > 1:
        raise CounError("amnesiac replays training in one process; leave torchrun out")
    seeds = Seeds(task.original["seed"]).fork("original")
    model = copy.deepcopy(task.classifier)
    past = Task(task.data, None, seeds, task.reads, model, task.build, task.device, task.flops)
    weights, forget = dict(model.inner.named_parameters()), task.rows("forget")
    total = {name: torch.zeros_like(p) for name, p in weights.items()}

    @contextlib.contextmanager
    def observe(batches: dict[str, Batch]) -> Iterator[None]:
        rows = batches["retain"].rows
        hit = rows is not None and bool(torch.isin(rows, forget).any())
        before = {name: p.detach().clone() for name, p in weights.items()} if hit else {}
        yield
        for name, old in before.items():
            total[name] += weights[name].detach() - old

    compute = Compute.choose(str(task.device), macs=task.flops / 2)
    recipe = Retrain(**task.original["settings"])
    Engine(past, compute, observe=observe).run(recipe.plan(model.inner, past))
    task.charge(past.cost.trained_images, grad=True)
    with torch.no_grad():
        now = dict(task.classifier.inner.named_parameters())
        off = sum(float((now[n] - p).square().sum()) for n, p in weights.items())
        return total, (off / sum(float(p.square().sum()) for p in now.values())) ** 0.5
