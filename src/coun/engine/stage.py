"""The vocabulary of plans: what a method asks the engine to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from torch import Tensor, nn

from coun.data.views import Transform
from coun.engine.optimizer import Optimizer
from coun.models import Classifier
from coun.objectives import Objective


@dataclass(frozen=True)
class Edit:
    """Change weights without training: `apply(model)` works in place on the user's module.

    Args:
        prior: a preparation, paid for before any request; its cost is kept apart.
    """

    name: str
    apply: Callable[[nn.Module], None]
    prior: bool = False


@dataclass(frozen=True)
class Pass:
    """One sweep over data, minimising *objective*.

    Args:
        objective: what each update minimises.
        draws: batch size per role. The first role sets the length of the sweep; the others
            are re-iterated with a new order, and new views, each time they run out.
        views: transforms for this pass only, in place of the data's own: one for all views,
            or by view number.
        until: the number of epochs after which this pass is left out; None never is.
        updates: length of the sweep, where the first role is not to set it.
        roles: where a role's rows come from, if from a role of another name (`Task.define`).
    """

    objective: Objective
    draws: Mapping[str, int]
    views: Transform | Mapping[int, Transform] | None = None
    until: int | None = None
    updates: int | None = None
    roles: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Fit:
    """Train for *epochs*, each of them all *passes* in turn, with one optimizer.

    Args:
        mask: what may move, by parameter name: True, False, or a bool tensor with True at the
            entries that may. Names left out may not. The rest stays bit-identical, whatever
            momentum and weight decay say; BatchNorm whose weights are all frozen keeps its
            statistics. None trains everything.
        modules: what is trained or kept along with the model (a noise tensor, a queue, a
            momentum encoder): put on the device, checkpointed, trained where it wants gradients.
        model: what is trained in place of the whole model: a part of it, wrapped. The rest
            stays as it is.
        prior: as of an `Edit`.
    """

    passes: tuple[Pass, ...]
    epochs: int
    optimizer: Optimizer = field(default_factory=Optimizer)
    name: str = "train"
    mask: Mapping[str, Tensor | bool] | None = None
    modules: tuple[nn.Module, ...] = ()
    model: Classifier | None = None
    prior: bool = False


Stage = Edit | Fit


def with_term(
    stages: Iterable[Stage],
    term: Objective,
    views: Transform | Mapping[int, Transform] | None = None,
    modules: tuple[nn.Module, ...] = (),
) -> Iterator[Stage]:
    """The same stages with *term*, and its *modules*, in every pass that draws retain data."""
    for stage in stages:
        if isinstance(stage, Fit) and any("retain" in p.draws for p in stage.passes):
            passes = tuple(
                replace(p, objective=p.objective + term, views=views or p.views)
                if "retain" in p.draws
                else p
                for p in stage.passes
            )
            stage = replace(stage, passes=passes, modules=(*stage.modules, *modules))
        yield stage
