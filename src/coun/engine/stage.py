"""The vocabulary of plans: what a method asks the engine to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from torch import nn

from coun.data.views import Transform
from coun.engine.optimizer import Optimizer
from coun.objectives import Objective


@dataclass(frozen=True)
class Edit:
    """Change weights without training: `apply(model)` works in place on the user's module."""

    name: str
    apply: Callable[[nn.Module], None]


@dataclass(frozen=True)
class Pass:
    """One sweep over data, minimising *objective*.

    Args:
        objective: what each update minimises.
        draws: batch size per role. The first role sets the length of the sweep; the others
            are re-iterated with a new order, and new views, each time they run out.
        views: a transform for this pass only, in place of the data's own.
    """

    objective: Objective
    draws: dict[str, int]
    views: Transform | None = None


@dataclass(frozen=True)
class Fit:
    """Train for *epochs*, each of them all *passes* in turn, with one optimizer."""

    passes: tuple[Pass, ...]
    epochs: int
    optimizer: Optimizer = field(default_factory=Optimizer)
    name: str = "train"


Stage = Edit | Fit


def with_term(
    stages: Iterable[Stage], term: Objective, views: Transform | None = None
) -> Iterator[Stage]:
    """The same stages with *term* added to every pass that draws retain data."""
    for stage in stages:
        if isinstance(stage, Fit):
            passes = tuple(
                replace(p, objective=p.objective + term, views=views or p.views)
                if "retain" in p.draws
                else p
                for p in stage.passes
            )
            stage = replace(stage, passes=passes)
        yield stage
