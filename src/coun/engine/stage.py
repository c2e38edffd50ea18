"""The vocabulary of plans: the stages that a method yields and the engine carries out."""

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
    """A stage that changes weights without training.

    Args:
        name: name of the stage in the record.
        apply: a function that changes the user's module in place.
        preparation: whether the stage prepares for requests, so that its cost is kept apart.
        complete: whether the weights afterwards are all that later stages need. A checkpoint then
            keeps these weights and forgets the stages before, which a resumed run leaves out: what
            the plan reads from the model before this stage is then not what it was.

    >>> import torch
    >>> layer = torch.nn.Linear(2, 1)
    >>> edit = Edit("zero", lambda model: model.weight.data.zero_())
    >>> _ = edit.apply(layer)
    >>> layer.weight.tolist()
    [[0.0, 0.0]]
    """

    name: str
    apply: Callable[[nn.Module], object]
    preparation: bool = False
    complete: bool = False


@dataclass(frozen=True)
class Phase:
    """A part of an epoch: steps that minimise one objective over batches of one or more roles.

    Args:
        objective: what each step minimises.
        batch_sizes: batch size per role. The phase passes once over the rows of the first role;
            the other roles start again, in a new order and with new views, when they run out.
        views: transforms for this phase only, in place of the data's own: one for all views, or
            one for each view number.
        until_epoch: the number of epochs after which this phase is left out; None means never.
        steps: number of steps, if the first role is not to determine it.
        roles: for a role, the name of the role that its rows come from, if it is another one
            (see `Task.define`).
        optimizer: how weights move in this phase, if it has an optimizer of its own, with its own
            momentum; None means that of the stage.

    >>> from coun.objectives import cross_entropy
    >>> Phase(cross_entropy("retain"), {"retain": 256, "forget": 64}).steps is None
    True
    """

    objective: Objective
    batch_sizes: Mapping[str, int]
    views: Transform | Mapping[int, Transform] | None = None
    until_epoch: int | None = None
    steps: int | None = None
    roles: Mapping[str, str] = field(default_factory=dict)
    optimizer: Optimizer | None = None

    def source_of(self, role: str) -> str:
        """Return the role that the rows of *role* come from."""
        return self.roles.get(role, role)


@dataclass(frozen=True)
class Fit:
    """A stage that trains for *epochs* with one optimizer; an epoch runs all *phases* in turn.

    Args:
        phases: what an epoch does.
        epochs: number of epochs.
        optimizer: how weights move.
        name: name of the stage in the record.
        mask: what may move, by parameter name: True, False, or a bool tensor, True at the entries
            that may move. Names that are left out may not. Everything else stays bit-identical,
            whatever momentum and weight decay would do; a BatchNorm whose weights are all frozen
            keeps its statistics. None trains everything.
        modules: modules that are trained or kept along with the model (a noise tensor, a queue, a
            momentum encoder). They are moved to the device, saved in checkpoints, and trained
            where they require gradients.
        model: a wrapped part of the model that is trained in place of the whole model; the rest
            stays as it is.
        after_step: changes the weights in place after every step, given the module and the
            fraction of the stage that was done before the step; for proximal methods.
        unaugmented_epochs: the number of last epochs in which view 0 of every batch is that of
            measurements, without random changes. Other views stay as they are.
        preparation: whether the stage prepares for requests, so that its cost is kept apart.

    >>> from coun.objectives import cross_entropy
    >>> Fit((Phase(cross_entropy("retain"), {"retain": 256}),), epochs=2).name
    'train'
    """

    phases: tuple[Phase, ...]
    epochs: int
    optimizer: Optimizer = field(default_factory=Optimizer)
    name: str = "train"
    mask: Mapping[str, Tensor | bool] | None = None
    modules: tuple[nn.Module, ...] = ()
    model: Classifier | None = None
    preparation: bool = False
    after_step: Callable[[nn.Module, float], object] | None = None
    unaugmented_epochs: int = 0


Stage = Edit | Fit


def with_term(
    stages: Iterable[Stage],
    term: Objective,
    views: Transform | Mapping[int, Transform] | None = None,
    modules: tuple[nn.Module, ...] = (),
) -> Iterator[Stage]:
    """Add *term* to every phase that reads retain rows.

    Args:
        stages: the stages of a plan.
        term: what is added to the objective of such phases.
        views: transforms for such phases; None leaves them.
        modules: modules that *term* needs, added to the stages that hold such phases.

    >>> from coun.objectives import cross_entropy
    >>> plan = [Fit((Phase(cross_entropy("retain"), {"retain": 64}),), epochs=1)]
    >>> (stage,) = with_term(plan, 0.5 * cross_entropy("retain", view=1))
    >>> len(stage.phases[0].objective.parts)
    2
    """
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
