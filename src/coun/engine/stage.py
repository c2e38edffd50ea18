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
        preparation: a preparation, paid for before any request; its cost is kept apart.
    """

    name: str
    apply: Callable[[nn.Module], None]
    preparation: bool = False


@dataclass(frozen=True)
class Phase:
    """One sweep over data, minimising *objective*.

    Args:
        objective: what each update minimises.
        batch_sizes: batch size per role. The first role sets the length of the sweep; the others
            are re-iterated with a new order, and new views, each time they run out.
        views: transforms for this pass only, in place of the data's own: one for all views,
            or by view number.
        until_epoch: the number of epochs after which this pass is left out; None never is.
        steps: length of the phase, where the first role is not to set it.
        roles: where a role's rows come from, if from a role of another name (`Task.define`).
    """

    objective: Objective
    batch_sizes: Mapping[str, int]
    views: Transform | Mapping[int, Transform] | None = None
    until_epoch: int | None = None
    steps: int | None = None
    roles: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Fit:
    """Train for *epochs*, each of them all *phases* in turn, with one optimizer.

    Args:
        mask: what may move, by parameter name: True, False, or a bool tensor with True at the
            entries that may. Names left out may not. The rest stays bit-identical, whatever
            momentum and weight decay say; BatchNorm whose weights are all frozen keeps its
            statistics. None trains everything.
        modules: what is trained or kept along with the model (a noise tensor, a queue, a
            momentum encoder): put on the device, checkpointed, trained where it wants gradients.
        model: what is trained in place of the whole model: a part of it, wrapped. The rest
            stays as it is.
        preparation: as of an `Edit`.
    """

    phases: tuple[Phase, ...]
    epochs: int
    optimizer: Optimizer = field(default_factory=Optimizer)
    name: str = "train"
    mask: Mapping[str, Tensor | bool] | None = None
    modules: tuple[nn.Module, ...] = ()
    model: Classifier | None = None
    preparation: bool = False


Stage = Edit | Fit


def with_term(
    stages: Iterable[Stage],
    term: Objective,
    views: Transform | Mapping[int, Transform] | None = None,
    modules: tuple[nn.Module, ...] = (),
) -> Iterator[Stage]:
    """The same stages with *term*, and its *modules*, in every pass that draws retain data."""
    for stage in stages:
        if isinstance(stage, Fit) and any("retain" in p.batch_sizes for p in stage.phases):
            phases = tuple(
                replace(p, objective=p.objective + term, views=views or p.views)
                if "retain" in p.batch_sizes
                else p
                for p in stage.phases
            )
            stage = replace(stage, phases=phases, modules=(*stage.modules, *modules))
        yield stage
