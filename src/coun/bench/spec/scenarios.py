"""What a scenario of a bench asks a method to forget."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from coun.bench.spec.strict import Share, StrictModel, Text


class Random(StrictModel):
    """A uniform random share of the rows, drawn anew for each seed."""

    kind: Literal["random"]
    fraction: Share = 0.1


class Class(StrictModel):
    """Every row of one class."""

    kind: Literal["class"]
    name: Text


class Subclass(StrictModel):
    """Every row of one class that `groups` merged with others."""

    kind: Literal["subclass"]
    name: Text


class Sequential(StrictModel):
    """Several random requests, one after the other, each for *fraction* of all rows.

    Stage k starts from the model of stage k-1 and is measured on the union of all requests.
    """

    kind: Literal["sequential"]
    fraction: Share = 0.1
    stages: Annotated[int, Field(ge=2)] = 5

    @model_validator(mode="after")
    def _check_rest(self) -> Sequential:
        if self.fraction * self.stages >= 1:
            raise ValueError(
                f"{self.stages} stages of {self.fraction} leave no row; expected a sum below 1"
            )
        return self


class Memorisation(StrictModel):
    """The rows that models memorise most or least, from *models* trainings on random halves."""

    kind: Literal["memorisation"]
    level: Literal["high", "middle", "low", "mix"] = "high"
    fraction: Share = 0.1
    models: Annotated[int, Field(ge=2)] = 8


class Worst(StrictModel):
    """The rows with the largest self-influence on the Original's last layer."""

    kind: Literal["worst"]
    fraction: Share = 0.1


Scenario = Annotated[
    Random | Class | Subclass | Sequential | Memorisation | Worst, Field(discriminator="kind")
]
