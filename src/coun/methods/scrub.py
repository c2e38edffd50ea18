"""SCRUB: a student that departs from its teacher on forget rows and follows it on the rest."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import nn

from coun.data import Data, Split
from coun.engine import Edit, Phase, Stage, Task
from coun.models import Classifier
from coun.objectives import cross_entropy
from coun.objectives.distillation import distil
from coun.plans.epochs import error_rate, held_out_rows, hold_out, one_stage_per_epoch
from coun.plans.method import FROZEN, LearningRate, Positive, RetainEpochs, Schedule, Share
from coun.plans.two_losses import TwoLosses


@dataclass(frozen=True, config=FROZEN)
class Scrub(TwoLosses):
    """Move away from the Original's outputs on forget rows, and keep them on the rest (SCRUB).

    A student starts as a copy of the Original. It disagrees with the Original on forget rows,
    and agrees with it and with the labels on retain rows.

    rewind (SCRUB+R) takes the epoch whose forget error is nearest to a reference: in the
    paper, the final model's error on validation rows of the forgotten classes. Every epoch is
    then a stage of its own (`one_stage_per_epoch`).

    Formula: each of the first max_steps epochs maximises KD(forget); every epoch then minimises
        gamma * CE(retain) + alpha * KD(retain). The teacher is the Original in eval mode.
    Cost: in each epoch one forward and one backward pass of every retain row and, while it
        maximises, of every forget row, and one forward pass of the teacher for each of them.
    Limits: KD has no upper bound: keep max_steps and lr small. For a network without BatchNorm and
        dropout, student and teacher are equal at the start, and the first maximisation has no
        gradient.
    Source: Kurmanji et al., NeurIPS 2023; the large-scale settings of its code (SGD, learning rate
        5e-4, T 4, gamma 0.99, alpha 0.001, 3 epochs of which 2 maximise, batches of 128 and 32).
    Differences: no test row may be read for rewind, so a share of the retain rows of the forgotten
        classes is held out from the training. Because the Original has seen them, the reference is
        too low: give reference_error if you know a better value.
    """

    name: ClassVar[str] = "scrub"
    source: ClassVar[str] = "SCRUB, Kurmanji et al., NeurIPS 2023"
    reads: ClassVar[frozenset[str]] = frozenset({"retain", "forget"})

    epochs: RetainEpochs = Field(3)
    batch_size: Positive | None = Field(128, description="Retain rows per step.")
    lr: LearningRate = Field(5e-4)
    schedule: Schedule = Field("constant")
    forget_batch_size: Positive = Field(32, description="Forget rows per step of the maximisation.")
    max_steps: int = Field(
        2, ge=0, description="Number of epochs that start with a maximisation phase."
    )
    gamma: float = Field(0.99, gt=0, description="Weight of the retain cross entropy.")
    alpha: float = Field(0.001, ge=0, description="Weight of the retain distillation.")
    temperature: float = Field(4.0, gt=0, description="Temperature of the distillation, T.")
    rewind: bool = Field(
        False,
        description="If true (SCRUB+R), return to the epoch whose forget error is nearest to a "
        "reference.",
    )
    held_out: Share = Field(
        0.1,
        description="Share of the retain rows of the forgotten classes that is held out to compute "
        "the reference.",
    )
    reference_error: float | None = Field(
        None,
        ge=0,
        le=100,
        description="Reference forget error, in percent. Default: the final error on the held-out "
        "rows.",
    )

    def check(self, classifier: Classifier, data: Data, split: Split | None) -> None:
        super().check(classifier, data, split)
        if split is not None and self._measures:
            labels = data.train.labels.cpu()
            forget, retain = (split.rows(data, role) for role in ("forget", "retain"))
            held_out_rows(labels, retain, forget, self.held_out)

    @property
    def _measures(self) -> bool:
        """Whether the reference error is measured on rows that are held out."""
        return self.rewind and self.reference_error is None

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        _, size = self.budget()
        teacher, t = task.teacher(), self.temperature
        rest, held_out = hold_out(task, self.held_out) if self._measures else ("retain", "")
        keep = self.gamma * cross_entropy("retain") + self.alpha * distil("retain", teacher, t)
        phases = [Phase(keep, {"retain": size}, roles={"retain": rest})]
        if self.max_steps:
            batch_sizes = {"forget": self.forget_batch_size}
            maximise = -distil("forget", teacher, t)
            phases.insert(0, Phase(maximise, batch_sizes, until_epoch=self.max_steps))
        whole = self.fit(*phases)
        if not self.rewind:
            yield whole
            return
        epochs: list[tuple[float, dict[str, Any]]] = []
        for stage in one_stage_per_epoch(whole):
            yield stage
            epochs.append((error_rate(task, "forget"), copy.deepcopy(model.state_dict())))
        reference = self.reference_error
        if reference is None:
            reference = error_rate(task, held_out)
        best = min(range(len(epochs)), key=lambda epoch: abs(epochs[epoch][0] - reference))
        result = f"forget error {epochs[best][0]:.1f}%, reference {reference:.1f}%"
        yield Edit(f"rewind to epoch {best + 1}: {result}", lambda m: _load(m, epochs[best][1]))


def _load(model: nn.Module, weights: dict[str, Any]) -> None:
    model.load_state_dict(weights)
