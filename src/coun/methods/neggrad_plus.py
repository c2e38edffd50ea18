"""NegGrad+: gradient descent on the retain rows and ascent on the forget rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import nn

from coun.engine import Stage, Task
from coun.objectives import cross_entropy
from coun.plans.method import FROZEN, Positive
from coun.plans.two_losses import TwoLosses


@dataclass(frozen=True, config=FROZEN)
class NegGradPlus(TwoLosses):
    """Decrease the retain loss and increase the forget loss in every step (NegGrad+, NG+).

    Ascent on the forget rows removes what the model knows of them, and descent on the retain
    rows repairs the damage in the same step. With small forget batches
    (`forget_batch_size=16`) a few epochs are enough.

    Formula: L = alpha * CE(retain) - (1 - alpha) * CE(forget), with one batch of each set in each
        step; with forget_lr (DualOptim) the two terms are phases of an epoch instead.
    Cost: one forward and one backward pass of every retain row in each epoch, and of one forget
        batch in each step: twice fine-tuning if both batches have the same size.
    Limits: the lower alpha is, the sooner the training diverges. Few forget rows come up very often
        in an epoch, and then ruin the model unless their weight is lowered; their batches also draw
        the statistics of BatchNorm towards them. It needs the forget rows.
    Source: Kurmanji et al., NeurIPS 2023 (SCRUB's baseline): learning rate 0.01, no weight decay,
        alpha 0.95 (DeepUnlearn) or 0.9999 (SCRUB); RUM: learning rate 0.01, 5 epochs. CoUn tunes
        alpha, there called beta, in 0.95..0.9999 and keeps its own recipe, which is the default
        here.
    Differences: when the forget batches run out they start again in a new order and with new views;
        public code repeats the views of the first pass. BatchNorm sees the two batches one after
        the other.
    """

    name: ClassVar[str] = "neggrad_plus"
    source: ClassVar[str] = "NegGrad+, Kurmanji et al., NeurIPS 2023; recipe of CoUn, section 4.1"
    reads: ClassVar[frozenset[str]] = frozenset({"retain", "forget"})

    alpha: float = Field(
        0.95,
        gt=0,
        le=1,
        description="Weight of the retain loss (beta in CoUn); at 1 the method is fine-tuning.",
    )
    forget_batch_size: Positive | None = Field(
        None,
        description="Forget rows per step, which cost as much as retain rows. Default: batch_size.",
    )

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        _, size = self.budget()
        retain, forget = cross_entropy("retain"), cross_entropy("forget")
        yield self.fit_both(
            self.alpha * retain, -(1 - self.alpha) * forget, self.forget_batch_size or size
        )
