"""FT: go on training, on the retain set only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from pydantic.dataclasses import dataclass
from torch import nn

from coun.engine import Fit, Phase, Stage, Task
from coun.objectives import Objective, cross_entropy
from coun.plans.method import FROZEN, Training


@dataclass(frozen=True, config=FROZEN)
class FineTune(Training):
    """Fine-tune on the retain set and let the forget set fade (FT).

    Source: Warnecke et al. 2021; settings of CoUn, section 4.1 (SGD 0.9, wd 5e-4, cosine
    to 1e-4, 50 of 182 epochs). Sparse and SalUn use lr 0.01 for 10 epochs.
    """

    name: ClassVar[str] = "finetune"
    source: ClassVar[str] = "Warnecke et al., 2021; Golatkar et al., CVPR 2020"

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        yield self.train(cross_entropy("retain"))

    def train(self, objective: Objective) -> Fit:
        """One stage that minimises *objective* over retain batches."""
        epochs, size = self.budget()
        one = Phase(objective, {"retain": size})
        return Fit((one,), epochs, self.optimization(), name=self.name)
