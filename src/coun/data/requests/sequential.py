"""Several random requests, one after the other."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from torch import Tensor

from coun.data.data_set import Data
from coun.data.requests.base import Request, Share
from coun.data.requests.random import Random


class Sequential(Request):
    """Forget a random share of all rows several times; each stage keeps the earlier ones.

    Args:
        fraction: the share of all rows that each stage forgets.
        stages: how many stages; all together must leave a row to retain.
        draw: as for `Random`.

    >>> [round(stage.fraction, 1) for stage in Sequential(stages=3).in_stages()]
    [0.1, 0.2, 0.3]
    """

    kind: Literal["sequential"] = "sequential"
    fraction: Share = 0.1
    stages: Annotated[int, Field(ge=2)] = 5
    seed: int | None = None
    draw: Literal["torch", "salun"] = "torch"

    @model_validator(mode="after")
    def _leaves_rows(self) -> Sequential:
        if self.fraction * self.stages >= 1:
            raise ValueError(
                f"{self.stages} stages of {self.fraction} leave no row; expected a sum below 1"
            )
        return self

    @property
    def drawn(self) -> bool:
        return True

    def in_stages(self) -> tuple[Random, ...]:
        """Random requests of growing shares; each draw includes the one before it."""
        shares = [round(self.fraction * (k + 1), 10) for k in range(self.stages)]
        return tuple(
            Random(fraction=share, seed=self.seed, draw=self.draw, among="all") for share in shares
        )

    def choose(self, data: Data, *, seed: int = 0, scores: Any = None) -> Tensor:
        return self.in_stages()[-1].choose(data, seed=seed)

    def completed(self, data: Data, seed: int) -> Sequential:
        return self if self.seed is not None else self.model_copy(update={"seed": seed})

    def describe(self) -> str:
        return f"{self.stages} times {100 * self.fraction:.4g}% of the rows, drawn at random"
