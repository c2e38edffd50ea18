"""Methods that train on forget rows only."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from coun.engine import Fit, Phase
from coun.objectives import Objective
from coun.plans.method import FROZEN, Positive, Schedule, Training

ForgetEpochs = Annotated[Positive | None, Field(description="Passes over the forget rows.")]


@dataclass(frozen=True, config=FROZEN)
class ForgetOnly(Training):
    """Base class of methods that train on forget rows only, at a constant learning rate."""

    reads: ClassVar[frozenset[str]] = frozenset({"forget"})

    epochs: ForgetEpochs = Field(10)
    batch_size: Positive | None = Field(
        None, description="Forget rows per step. Default: inherited from the Original."
    )
    schedule: Schedule = Field("constant")

    def fit_forget(self, objective: Objective, **options: Any) -> Fit:
        """Make the stage that minimises *objective* over forget batches, with options of `fit`."""
        _, size = self.budget()
        return self.fit(Phase(objective, {"forget": size}), **options)
