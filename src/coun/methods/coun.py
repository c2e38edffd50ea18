"""CoUn: fine-tuning with a contrastive loss between two views of the retain batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import nn

from coun.data import Data, Split
from coun.engine import Stage, Task
from coun.methods.finetune import FineTune
from coun.models import Classifier
from coun.objectives.contrastive.registry import InfoNCE
from coun.plans.contrastive_module import ContrastiveModule, check_second_view
from coun.plans.method import FROZEN


@dataclass(frozen=True, config=FROZEN)
class CoUn(FineTune):
    """Fine-tune with a contrastive loss between two views of the retain rows (CoUn).

    Cross entropy holds the retain rows in place, while the contrastive loss moves the features
    of forget rows towards those of similar retain rows, where a model that never saw them
    would put them. Only retain rows are read, so the forget rows may be deleted before.

    Formula: L = CE(view 1) + weight * InfoNCE(view 1, view 2), on the features that the classifier
        reads, without a projection head and with gradient through both views.
    Cost: two forward and two backward passes of every retain row in each epoch, which is twice the
        cost of fine-tuning.
    Limits: a larger weight forgets more and costs retain and test accuracy; more epochs win a part
        of it back. It means less where similar-looking rows do not share features
        (docs/results/premise.md).
    Source: Khalil, Setayesh, Li, NeurIPS 2025, Algorithm 1 and Appendix B. The paper tunes weight
        in 0.1..6 and temperature in (0, 0.3]; 0.1 is its best temperature.
    Differences: `second_view_labels` adds CE(view 2), which is not in the paper and needs no
        further forward pass. The two views pass through the model separately, so BatchNorm uses the
        statistics of each. This method is the same as `contrast(FineTune(...), "info_nce", ...)`,
        to the last bit.
    """

    name: ClassVar[str] = "coun"
    source: ClassVar[str] = "CoUn, Khalil et al., NeurIPS 2025"
    contrast_of: ClassVar[str | None] = FineTune.name

    weight: float = Field(1.0, ge=0, description="Weight of the contrastive loss, lambda.")
    temperature: float = Field(0.1, gt=0, description="Temperature of the contrastive loss, tau.")
    directions: Literal["sum", "mean"] = Field(
        "sum",
        description="How the loss joins its two directions (view 1 to 2, view 2 to 1): their sum, "
        "as in the paper's code, or their mean.",
    )
    second_view_gradient: bool = Field(
        True,
        description="Whether gradients flow through view 2. If false, view 2 is a constant target "
        "and a step costs 4 forward passes instead of 6.",
    )
    second_view_labels: float = Field(
        0.0,
        ge=0,
        description="Weight of the cross entropy of view 2, which is not in the paper.",
    )
    per_batch: bool = Field(
        False,
        description="If true, all images of a batch share one crop and one flip, a literal reading "
        "of the paper's Algorithm 1.",
    )
    second_view_letters: str | None = Field(
        None,
        description="Letters of the transforms of view 2, such as CHN; for tables and texts the "
        "share that it changes. Default: those of the data, as view 1.",
    )

    def __post_init__(self) -> None:
        check_second_view(self.second_view_letters)

    def settings(self) -> dict[str, Any]:
        settings = super().settings()
        # Left out where it is not set, so that records and hashes of 0.1 stay as they are.
        if self.second_view_letters is None:
            del settings["second_view_letters"]
        return settings

    def check(self, classifier: Classifier, data: Data, split: Split | None) -> None:
        super().check(classifier, data, split)
        self._module().views(data)

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        return self._module().add_to(super().plan(model, task), task)

    def _module(self) -> ContrastiveModule:
        loss = InfoNCE(
            temperature=self.temperature,
            directions=self.directions,
            second_view_gradient=self.second_view_gradient,
        )
        return ContrastiveModule(
            loss,
            self.weight,
            self.second_view_letters,
            second_view_labels=self.second_view_labels,
            per_batch=self.per_batch,
        )
