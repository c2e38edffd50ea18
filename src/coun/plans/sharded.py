"""The plan of exact methods that train many networks, each on a part of the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import ClassVar

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from coun.engine import Edit, Phase, Stage, Task
from coun.models.ensemble import FORGOTTEN, Shards
from coun.objectives import Objective, cross_entropy
from coun.plans.method import FROZEN, FromScratch


@dataclass(frozen=True, config=FROZEN)
class Sharded(FromScratch):
    """Base class of methods that retrain only the networks that learned from a forgotten row.

    The model is a `Shards` ensemble. If the same method trained it, the networks whose rows all
    stay keep their weights to the last bit. If not, all networks are trained first, and this is
    charged as `preparation_cost`. Forgotten rows are not read even then: a network that learned
    from one would be thrown away, so it is trained once, without the row. (A preparation before
    the request would have trained these networks too, for about the `cost` of the run once
    more.)

    Every network has its own random streams. With equal seeds the result is therefore that of a
    training without the forgotten rows, bit for bit.
    """

    prepares: ClassVar[bool] = True

    def assign(self, task: Task, retained: Tensor, previous: Tensor | None) -> Tensor:
        """Assign every training row to the first network that learns from it.

        Args:
            task: data and seeds.
            retained: (N,) bool, the rows that no request has named so far. The other rows get
                the network that they would have.
            previous: (N,) int64, the assignment before this request; None if nothing is
                trained yet.

        Returns: (N,) int64, numbers of networks, or `UNUSED`.
        """
        raise NotImplementedError

    def start(self, member: int, task: Task, model: Shards, *, preparation: bool) -> None:
        """Prepare network *member* to learn from the rows of role "shard"; runs in an `Edit`."""
        model.init_member(member)

    def slice_epochs(self, slice: int) -> int:
        """Return the epochs of slice number *slice* of a shard."""
        return self.epochs

    def objective(self, model: Shards, member: int) -> Objective:
        """Return what *member* minimises over batches of its rows, which have role "retain"."""
        return cross_entropy("retain")

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        assert isinstance(model, Shards), "the run shapes the model by layout()"
        slices, before, untrained = (
            model.layout.slices,
            model.place.cpu().long(),
            not model.prepared,
        )
        retained = torch.zeros_like(before, dtype=torch.bool)
        retained[task.indices("retain")] = True
        retained &= before != FORGOTTEN  # rows that earlier requests named stay forgotten
        assignment = self.assign(task, retained, None if untrained else before)
        after = torch.where(retained, assignment, FORGOTTEN)
        if untrained:
            before = torch.where(before == FORGOTTEN, FORGOTTEN, assignment)
        moved = before != after
        changed = torch.cat([before[moved], after[moved], model.members_of_deleted_rows])
        yield Edit(
            "prepare", _calling(model.init_reference if untrained else None), preparation=True
        )
        for number in range(len(model.members)):
            shard, slice = divmod(number, slices)
            name = f"shard {shard + 1}" + f", slice {slice + 1}" * (slices > 1)
            # Slice r learns from the rows of slices 0..r, so an earlier slice's row counts too.
            first = number - slice
            affected = bool(((changed >= first) & (changed <= number)).any())
            indices = ((after >= first) & (after <= number)).nonzero().flatten()
            role = task.define("shard", indices)
            phase = Phase(
                self.objective(model, number), {"retain": self.batch_size}, roles={"retain": role}
            )
            train, preparation = untrained or affected, untrained and not affected
            # A network that is kept gets its two stages as well: the number of a stage seeds
            # what is drawn in it, and the networks after this one must draw the same.
            start = partial(self.start, number, task, model, preparation=preparation)
            yield Edit(
                f"{name}: {'start' if train else 'keep'}",
                _calling(start if train else None),
                preparation,
            )
            epochs = self.slice_epochs(slice) if train and len(indices) > 1 else 0
            yield replace(
                self.fit(phase, name=name, epochs=epochs),
                model=model.member(number),
                preparation=preparation,
            )
        yield Edit("places", lambda _: model.save_assignment(after))


def _calling(action: Callable[[], None] | None) -> Callable[[nn.Module], None]:
    """Turn *action* into what an `Edit` applies; None does nothing."""
    return lambda _: action() if action else None
