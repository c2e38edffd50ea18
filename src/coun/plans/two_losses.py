"""Methods with one loss for forget rows and another for retain rows, and DualOptim for them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pydantic import Field
from pydantic.dataclasses import dataclass

from coun.engine import Fit, Phase
from coun.objectives import Objective
from coun.plans.method import FROZEN, Training

DECAY = 0.05  # weight decay of AdamW in the authors' code


@dataclass(frozen=True, config=FROZEN)
class TwoLosses(Training):
    """Base class of methods that have one loss for forget rows and another for retain rows.

    With `forget_lr` each loss has an optimizer of its own, with its own momentum (DualOptim). An
    epoch then passes over the forget rows with AdamW, and over the retain rows with the optimizer
    that the settings describe. AdamW does not depend on the scale of the forget loss, and the
    momentum of one loss no longer pushes against the other. Both learning rates follow the
    schedule of the settings. A forget loss without an upper bound grows with every step of AdamW:
    begin with a forget_lr of 1e-5.

    Source: Zhong, Luo, Liu, "DualOptim: Enhancing Efficacy and Stability in Machine Unlearning
        with Dual Optimizers", NeurIPS 2025, and its code: AdamW with weight decay 0.05 for the
        forget loss, SGD at 0.01 for the retain loss. It searches forget_lr for each method.
    """

    forget_lr: float | None = Field(
        None,
        gt=0,
        description="Peak learning rate of AdamW for the forget loss, which then has an optimizer "
        "of its own (DualOptim). Default: one optimizer for both losses.",
    )

    def settings(self) -> dict[str, Any]:
        # An unused option is not recorded, so that runs and benches of earlier versions resume.
        settings = super().settings()
        if self.forget_lr is None:
            del settings["forget_lr"]
        return settings

    def fit_both(self, retain: Objective, forget: Objective, forget_size: int) -> Fit:
        """Make the stage that minimises *retain* + *forget*, with *forget_size* forget rows a step.

        With `forget_lr` the two are phases, one after the other, and not terms of every step.
        """
        _, size = self.budget()
        if self.forget_lr and any(weight != 0 for weight, _ in forget.parts):
            return self.fit(Phase(forget, {"forget": forget_size}), retain)
        return self.fit(Phase(retain + forget, {"retain": size, "forget": forget_size}))

    def fit(self, *phases: Phase | Objective, **options: Any) -> Fit:
        stage = super().fit(*phases, **options)
        if self.forget_lr is None:
            return stage
        of_forget_loss = replace(
            stage.optimizer,
            kind="adamw",
            lr=self.forget_lr,
            lr_floor=stage.optimizer.lr_floor * self.forget_lr / stage.optimizer.lr,
            weight_decay=DECAY,
        )
        return replace(
            stage,
            phases=tuple(
                replace(phase, optimizer=of_forget_loss)
                if set(phase.batch_sizes) == {"forget"}
                else phase
                for phase in stage.phases
            ),
        )
