"""CoUn: fine-tuning with a contrastive loss between two views of the retain batch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import nn

from coun.data import Views
from coun.engine import Stage, Task, with_term
from coun.errors import CounError
from coun.methods.finetune import FineTune
from coun.objectives import info_nce, labels_of_second_view
from coun.plans.method import FROZEN


@dataclass(frozen=True, config=FROZEN)
class CoUn(FineTune):
    """Fine-tune with a contrastive loss on retain views, so forget samples drift (CoUn).

    L = CE(view 1) + weight * InfoNCE(view 1, view 2), on penultimate features, without a
    projection head and with gradient through both views; two forwards, so BatchNorm sees
    each view's own statistics.

    Source: Khalil, Setayesh, Li, NeurIPS 2025, Algorithm 1 and Appendix B. The paper tunes
    weight in 0.1..6 and temperature in (0, 0.3]; 0.1 is its best temperature. Not the paper's:
    `second_view_labels` adds CE(view 2), with no further forward.
    """

    name: ClassVar[str] = "coun"
    source: ClassVar[str] = "CoUn, Khalil et al., NeurIPS 2025"

    weight: float = Field(1.0, ge=0, description="lambda, of the contrastive loss")
    temperature: float = Field(0.1, gt=0, description="tau, of the contrastive loss")
    directions: Literal["sum", "mean"] = Field(
        "sum", description="both directions added, as the paper's code prints, or averaged"
    )
    second_view_gradient: bool = Field(
        True, description="false: view 2 is a constant target, 4 forwards' work instead of 6"
    )
    second_view_labels: float = Field(
        0.0, ge=0, description="weight of view 2's own cross entropy; the paper has none"
    )
    per_batch: bool = Field(
        False, description="true: one crop and flip for the whole batch, as Algorithm 1 reads"
    )

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        views = None
        if self.per_batch:
            if not isinstance(task.data.views, Views):
                raise CounError("per_batch needs coun's own views; this data brings a transform")
            views = replace(task.data.views, per_batch=True)
        term = self.weight * info_nce(
            "retain",
            temperature=self.temperature,
            directions=self.directions,
            second_view_gradient=self.second_view_gradient,
        )
        term += labels_of_second_view(self.second_view_labels, self.second_view_gradient)
        yield from with_term(super().plan(model, task), term, views)
