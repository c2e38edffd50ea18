"""FT: continue training, on the retain rows only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from pydantic.dataclasses import dataclass
from torch import nn

from coun.engine import Stage, Task
from coun.objectives import cross_entropy
from coun.plans.method import FROZEN, Training


@dataclass(frozen=True, config=FROZEN)
class FineTune(Training):
    """Fine-tune on the retain rows, and let the model forget the forget rows gradually (FT).

    Training simply continues on the retain rows, without the forget rows. What the model knows
    of the forget rows only, fades, because nothing in the loss holds it in place.

    Formula: L = CE(retain).
    Cost: one forward and one backward pass of every retain row in each epoch.
    Limits: forgetting is slow and incomplete: a model that fits the forget rows well has no reason
        to change there. It is the least that every other method should improve on.
    Source: Warnecke et al. 2021; settings of CoUn, section 4.1 (SGD with momentum 0.9, weight decay
        5e-4, cosine to 1e-4, 50 of 182 epochs). Sparse and SalUn use learning rate 0.01 for 10
        epochs.
    """

    name: ClassVar[str] = "finetune"
    source: ClassVar[str] = "Warnecke et al., 2021; Golatkar et al., CVPR 2020"

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        yield self.fit(cross_entropy("retain"))
