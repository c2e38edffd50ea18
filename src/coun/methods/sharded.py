"""What exact methods share that train many networks, each on a part of the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from coun.engine import Edit, Fit, Phase, Stage, Task
from coun.methods.retrain import Retrain
from coun.models.ensemble import FORGOTTEN, Shards
from coun.objectives import Objective, cross_entropy
from coun.plans.method import FROZEN


@dataclass(frozen=True, config=FROZEN)
class Sharded(Retrain):
    """Retrain only the networks that learned from a forgotten row (the plan of such methods).

    The model is a `Shards`. Where it was trained by the same method, networks whose rows all
    stay are left as they are, to the bit; where it was not, they are trained first, at
    `preparation_cost`. The forgotten rows are not read even then: networks that saw one would be
    thrown away, so they are trained once, without it. (A preparation before the request
    would have trained them too, at about the `cost` of the run once more.)

    Every network has its own random streams, so the result is that of training without
    the forgotten rows, bit for bit, where both have one seed.
    """

    def places(self, task: Task, kept: Tensor, old: Tensor | None) -> Tensor:
        """The first member that learns from each training row, (N,) int64, or `UNUSED`.

        Args:
            kept: (N,) bool; rows not kept get the place that they would have.
            old: what it was before this request; None if nothing was trained yet.
        """
        raise NotImplementedError

    def start(self, member: int, task: Task, model: Shards) -> None:
        """Make *member* ready to learn from the rows of role "shard"; part of an `Edit`."""
        model.init_member(member)

    def sweeps(self, slice: int) -> int:
        """Epochs of slice number *slice* of a shard."""
        return self.epochs

    def objective(self, model: Shards, member: int) -> Objective:
        """What *member* minimises over batches of its rows, which have the role "retain"."""
        return cross_entropy("retain")

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        assert isinstance(model, Shards), "the run shapes the model by layout()"
        slices, before, fresh = model.layout.slices, model.place.cpu().long(), not model.prepared
        kept = torch.zeros_like(before, dtype=torch.bool)
        kept[task.rows("retain")] = True
        kept &= before != FORGOTTEN  # by earlier requests
        places = self.places(task, kept, None if fresh else before)
        after = torch.where(kept, places, FORGOTTEN)
        before = torch.where(before == FORGOTTEN, FORGOTTEN, places) if fresh else before
        changed = torch.cat([before[before != after], after[before != after]])
        yield Edit("prepare", _calling(model.init_reference if fresh else None), preparation=True)
        for number in range(len(model.members)):
            shard, slice = divmod(number, slices)
            name = f"shard {shard + 1}" + f", slice {slice + 1}" * (slices > 1)
            first = number - slice
            hit = bool(((changed >= first) & (changed <= number)).any())
            rows = ((after >= first) & (after <= number)).nonzero().flatten()
            sources = {"retain": task.define("shard", rows)}
            one = Phase(self.objective(model, number), {"retain": self.batch_size}, roles=sources)
            train, preparation = fresh or hit, fresh and not hit
            # Two stages in any case: their numbers seed what a network draws.
            start = partial(self.start, number, task, model) if train else None
            yield Edit(f"{name}: {'start' if train else 'keep'}", _calling(start), preparation)
            yield Fit(
                (one,),
                self.sweeps(slice) if train and len(rows) > 1 else 0,
                self.optimization(),
                name,
                model=model.member(number),
                preparation=preparation,
            )
        yield Edit("places", lambda _: model.save_assignment(after))


def _calling(do: Callable[[], None] | None) -> Callable[[nn.Module], None]:
    return lambda _: do() if do else None
