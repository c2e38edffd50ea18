"""SCRUB: a student that leaves its teacher on forget data and keeps to it on the rest."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import nn

from coun.engine import Edit, Fit, Phase, Stage, Task
from coun.objectives import cross_entropy
from coun.objectives.distillation import distil
from coun.plans.epochs import error, hold_out, one_stage_per_epoch
from coun.plans.method import FROZEN, Positive, Share, Training


@dataclass(frozen=True, config=FROZEN)
class Scrub(Training):
    """Climb away from the original's outputs on forget data, keep to them on the rest (SCRUB).

    Each of the first max_steps epochs maximises KD over the forget set; every epoch then
    minimises gamma * CE + alpha * KD over the retain set. The teacher is the original in eval
    mode. On a net without BatchNorm and dropout student and teacher start equal, and the first
    climb has no gradient. KD has no upper bound: keep max_steps and lr small.

    rewind (SCRUB+R) takes the epoch whose forget error is nearest to a reference: in the paper,
    the final model's error on validation rows of the forgotten classes. No test row is read
    here, so a share of those classes' retain rows is kept out of the training; as the original
    has seen them, the reference comes out low: give reference_error if you know it better.
    Every epoch is then a stage of its own (`one_stage_per_epoch`).

    Source: Kurmanji et al., NeurIPS 2023; the large-scale settings of its code (SGD, lr 5e-4,
    T 4, gamma 0.99, alpha 0.001, 3 epochs of which 2 climb, batches of 128 and 32).
    """

    name: ClassVar[str] = "scrub"
    source: ClassVar[str] = "SCRUB, Kurmanji et al., NeurIPS 2023"
    reads: ClassVar[frozenset[str]] = frozenset({"retain", "forget"})

    epochs: Positive | None = Field(3, description="passes over the retain set")
    batch_size: Positive | None = Field(128, description="retain images an update")
    lr: float = Field(5e-4, gt=0, description="peak learning rate")
    schedule: Literal["cosine", "multistep", "constant"] = Field("constant", description="of lr")
    forget_batch_size: Positive = Field(32, description="forget images an update of the climb")
    max_steps: int = Field(2, ge=0, description="epochs that begin with a climb")
    gamma: float = Field(0.99, gt=0, description="weight of the retain cross entropy")
    alpha: float = Field(0.001, ge=0, description="weight of the retain distillation")
    temperature: float = Field(4.0, gt=0, description="T, of the distillation")
    rewind: bool = Field(False, description="true: SCRUB+R, end at the epoch nearest a reference")
    held_out: Share = Field(0.1, description="share of retain rows that tell the reference")
    reference_error: float | None = Field(
        None, ge=0, le=100, description="percent; open: the final error on the held-out rows"
    )

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        epochs, size = self.budget()
        teacher, t = task.teacher(), self.temperature
        measures = self.rewind and self.reference_error is None
        rest, held = hold_out(task, self.held_out) if measures else ("retain", "")
        keep = self.gamma * cross_entropy("retain") + self.alpha * distil("retain", teacher, t)
        phases = [Phase(keep, {"retain": size}, roles={"retain": rest})]
        if self.max_steps:
            batch_sizes = {"forget": self.forget_batch_size}
            climb = -distil("forget", teacher, t)
            phases.insert(0, Phase(climb, batch_sizes, until_epoch=self.max_steps))
        whole = Fit(tuple(phases), epochs, self.optimization(), self.name)
        if not self.rewind:
            yield whole
            return
        found: list[tuple[float, dict[str, Any]]] = []
        for stage in one_stage_per_epoch(whole):
            yield stage
            found.append((error(task, "forget"), copy.deepcopy(model.state_dict())))
        wanted = error(task, held) if self.reference_error is None else self.reference_error
        best = min(range(len(found)), key=lambda epoch: abs(found[epoch][0] - wanted))
        told = f"forget error {found[best][0]:.1f}%, reference {wanted:.1f}%"
        yield Edit(f"rewind to epoch {best + 1}: {told}", lambda m: _load(m, found[best][1]))


def _load(model: nn.Module, weights: dict[str, Any]) -> None:
    model.load_state_dict(weights)
