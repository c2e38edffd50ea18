"""What a method is: frozen settings, and a plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import nn

from coun.data import Data
from coun.engine import Optimizer, Stage, Task
from coun.models.ensemble import Layout

FROZEN = ConfigDict(extra="forbid")
PAPER_SHARE = 50 / 182  # unlearning epochs over training epochs, in the paper

Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True, config=FROZEN)
class Method:
    """A way to make a model forget.

    The fields are at once the Python arguments, the `--set` options and the record of a run.
    A subclass states where it comes from and which data it reads; `plan` yields stages and
    never changes the model itself.
    """

    name: ClassVar[str]
    source: ClassVar[str]
    reads: ClassVar[frozenset[str]] = frozenset({"retain"})
    trains: ClassVar[bool] = True
    exact: ClassVar[bool] = False  # gives what training without the forget rows gives
    needs_original: ClassVar[bool] = False  # the recipe and seed that the Original was trained with

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        """The stages that turn *model* (read only here) into the unlearned model."""
        raise NotImplementedError

    def layout(self, data: Data) -> Layout | None:
        """How the result is made of several networks; None where it is one, as the start is."""
        return None

    def with_defaults_from(self, original: Mapping[str, Any]) -> Self:
        """The same method with what was left open filled in from the original's settings."""
        return self

    def settings(self) -> dict[str, Any]:
        """Every setting with its value, JSON-able."""
        return asdict(self)

    @classmethod
    def summary(cls) -> str:
        """The first line of the docstring; the name where `python -OO` removed the docstrings."""
        return (cls.__doc__ or cls.name).strip().splitlines()[0]


@dataclass(frozen=True, config=FROZEN)
class Training(Method):
    """Settings shared by every method that trains."""

    epochs: Positive | None = Field(
        None,
        description="passes over the retain set; open: 50/182 of the original's, as in the paper",
    )
    batch_size: Positive | None = Field(
        None, description="retain images an update; open: the original's"
    )
    lr: float = Field(0.05, gt=0, description="peak learning rate; the paper tunes it in 0.01..0.1")
    schedule: Literal["cosine", "multistep", "constant"] = Field(
        "cosine", description="cosine to lr_floor; multistep x0.1 at 50% and 75%; constant"
    )
    lr_floor: float = Field(1e-4, ge=0, description="learning rate at the end of a cosine")
    warmup: Share = Field(0.0, description="fraction of the run with a linear warm-up")
    optimizer: Literal["sgd", "adamw"] = Field("sgd", description="sgd with momentum, or adamw")
    momentum: Share = Field(0.9, description="of sgd")
    weight_decay: float = Field(5e-4, ge=0, description="on all parameters")

    def with_defaults_from(self, original: Mapping[str, Any]) -> Self:
        epochs = self.epochs or max(1, round(PAPER_SHARE * original.get("epochs", 182)))
        return replace(
            self, epochs=epochs, batch_size=self.batch_size or original.get("batch_size", 256)
        )

    def budget(self) -> tuple[int, int]:
        """Epochs and batch size, which `with_defaults_from` has filled in."""
        assert self.epochs
        assert self.batch_size
        return self.epochs, self.batch_size

    def optimization(self) -> Optimizer:
        """The optimizer that the settings describe."""
        return Optimizer(
            kind=self.optimizer,
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            schedule=self.schedule,
            lr_floor=self.lr_floor,
            warmup=self.warmup,
        )
