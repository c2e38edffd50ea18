"""NegGrad+: descend on the retain set while climbing on the forget set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import nn

from coun.engine import Phase, Stage, Task
from coun.methods.finetune import FineTune
from coun.objectives import cross_entropy
from coun.plans.method import FROZEN, Positive


@dataclass(frozen=True, config=FROZEN)
class NegGradPlus(FineTune):
    """Descend the retain loss and climb the forget loss in each update (NegGrad+).

    L = alpha * CE(retain) - (1 - alpha) * CE(forget), a batch of each an update; forget batches
    start over in a new order and with new views (public code replays the first pass's views).
    BatchNorm sees the two batches one after the other.

    Source: Kurmanji et al., NeurIPS 2023 (SCRUB's baseline): lr 0.01, no weight decay, alpha
        0.95 (DeepUnlearn) or 0.9999 (SCRUB); RUM: lr 0.01, 5 epochs. CoUn tunes alpha, there
        beta, in 0.95..0.9999 and keeps its own recipe, which is the default here. The lower
        alpha, the sooner it diverges.
    """

    name: ClassVar[str] = "neggrad_plus"
    source: ClassVar[str] = "NegGrad+, Kurmanji et al., NeurIPS 2023; recipe of CoUn, section 4.1"
    reads: ClassVar[frozenset[str]] = frozenset({"retain", "forget"})

    alpha: float = Field(
        0.95, gt=0, le=1, description="weight of the retain loss (CoUn's beta); 1: fine-tuning"
    )
    forget_batch_size: Positive | None = Field(
        None, description="forget images an update, which cost as much; open: batch_size"
    )

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        _, size = self.budget()
        objective = self.alpha * cross_entropy("retain") - (1 - self.alpha) * cross_entropy(
            "forget"
        )
        one = Phase(objective, {"retain": size, "forget": self.forget_batch_size or size})
        yield replace(self.train(objective), phases=(one,))
