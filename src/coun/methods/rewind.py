"""Rewind: go back to an earlier epoch of the Original, and train on without the forget rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Self

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import nn

from coun.engine import Edit, Stage, Task
from coun.errors import CounError
from coun.methods.retrain import Retrain
from coun.objectives import cross_entropy
from coun.plans.method import FROZEN, PAPER_SHARE, Method, Positive


@dataclass(frozen=True, config=FROZEN)
class Rewind(Method):
    """Return to an earlier epoch of the Original, and train the rest without the rows (R2D).

    What the last epochs learned of the forget rows is gone, and the learning rate is again as
    large as it was then, so that the rest is forgotten more easily than at the end of a
    training. It is what a practitioner with old checkpoints would do.

    Formula: theta = the Original's weights after epoch T - K; then K epochs of the Original's
        recipe on the retain rows, with its schedule from T - K on.
    Cost: K/T of a Retrain. Keeping an epoch costs nothing but the disk for its weights.
    Limits: the kept epoch has seen the forget rows, and nothing is guaranteed of what is left of
        them after K epochs. It needs `coun train --keep-every N`.
    Source: Mu, Klabjan, "Rewind-to-Delete: Certified Machine Unlearning for Nonconvex Functions",
        NeurIPS 2025 (arXiv 2409.09778).
    Differences: they prove a guarantee for gradient descent with a constant step on a smooth loss,
        after noise has been added to the weights; here there is no noise, and none of these holds.
        Momentum starts at 0 where the training continues, because only weights are kept. The
        authors' code could not be had.
    """

    name: ClassVar[str] = "rewind"
    source: ClassVar[str] = "R2D, Mu and Klabjan, NeurIPS 2025"
    needs_original: ClassVar[bool] = True
    needs_kept_epochs: ClassVar[bool] = True

    epochs: Positive | None = Field(
        None,
        description="Smallest number of epochs to train again, K; the nearest kept epoch before "
        "decides. Default: 50/182 of the Original's epochs.",
    )

    def with_defaults_from(self, original: Mapping[str, Any]) -> Self:
        return replace(
            self, epochs=self.epochs or max(1, round(PAPER_SHARE * original.get("epochs", 182)))
        )

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        recipe, epochs = Retrain(**task.original["settings"]), self.epochs or 1
        early = [epoch for epoch in task.kept_epochs if epoch <= recipe.epochs - epochs]
        if not early:
            raise CounError(
                f"rewind by {epochs} of the Original's {recipe.epochs} epochs, but the first epoch "
                f"that was kept is {min(task.kept_epochs)}; expected at most "
                f"{recipe.epochs - min(task.kept_epochs)} epochs"
            )
        epoch = max(early)
        yield Edit(f"return to epoch {epoch}", task.kept_epochs[epoch])
        optimizer = replace(recipe.optimization(), begin=epoch / recipe.epochs)
        yield recipe.fit(
            cross_entropy("retain"),
            name=self.name,
            epochs=recipe.epochs - epoch,
            optimizer=optimizer,
        )
