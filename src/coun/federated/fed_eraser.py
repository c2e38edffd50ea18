"""FedEraser: train again from the start, with the lengths of the stored updates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any, ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import nn

from coun.data import Data, Split
from coun.engine import Compute, Edit, Engine, Fit, Phase, Stage, Task
from coun.errors import CounError
from coun.federated.averaging import State, average
from coun.federated.federation import Federation
from coun.federated.method import FederatedMethod
from coun.federated.rounds import Member, in_rounds
from coun.methods.retrain import Retrain
from coun.models import copy_model
from coun.objectives import cross_entropy
from coun.plans.method import FROZEN, Positive
from coun.seeds import Seeds

Lengths = dict[str, float]  # of one update, by parameter name


@dataclass(frozen=True, config=FROZEN)
class FedEraser(FederatedMethod):
    """Repeat some rounds without the forget rows, with the lengths of stored updates (FedEraser).

    From the initial model of the training, every `interval`-th round is repeated: each client
    trains on the rows that it still has, and its update is scaled, tensor by tensor, to the
    length of the update that it sent in that round of the training.

    Formula: theta becomes theta + mean of |stored| * update / |update| over the clients that stay.
    Cost: 1 / `interval` of a Retrain; the replay of the training is charged as preparation.
    Limits: it begins with the initial model, so with a large interval little is learned. It needs
        an Original of known training, and rows that were not forgotten before.
    Source: Liu et al., IWQoS 2021, equation 2.
    Differences: the authors store all updates during the training; here the training is replayed
        from its seed, and a resumed run replays it again. They take the stored updates of the
        first round as they are; here that round is repeated as well, because these updates may
        have seen forget rows where a client keeps some of its rows.
    """

    name: ClassVar[str] = "fed_eraser"
    source: ClassVar[str] = "FedEraser, Liu et al., IWQoS 2021"
    reads: ClassVar[frozenset[str]] = frozenset({"retain", "forget"})
    needs_original: ClassVar[bool] = True

    interval: Positive = Field(2, description="Every how many rounds one is repeated.")

    def check_clients(self, federation: Federation, data: Data, split: Split | None) -> None:
        if split is not None and len(split.earlier):
            raise CounError(
                "fed_eraser starts from the Original, but this model has forgotten rows before; "
                "name all rows in one request"
            )

    def federated_plan(
        self, model: nn.Module, task: Task, federation: Federation
    ) -> Iterator[Stage]:
        recipe = _recipe(task.original["settings"])
        initial, lengths = replay(task, federation, recipe)
        chosen = lengths[:: self.interval]

        def calibrated(
            present: State, states: Sequence[State], members: Sequence[Member], round: int
        ) -> State:
            scaled = [
                scaled_to(present, state, chosen[round][member.client])
                for state, member in zip(states, members, strict=True)
            ]
            return average(scaled, [member.rows for member in members])

        yield Edit("initial model of the training", lambda m: m.load_state_dict(initial))
        whole = Fit(
            (Phase(cross_entropy("retain"), {"retain": recipe.batch_size}),),
            len(chosen) * federation.local_epochs,
            recipe.optimization(),
            self.name,
        )
        yield from in_rounds([whole], task, federation, merge=calibrated, complete=True)


def replay(
    task: Task, federation: Federation, recipe: Retrain
) -> tuple[State, list[dict[int, Lengths]]]:
    """Replay the Original's training, on a copy of the model, and charge it as preparation.

    Returns: the initial weights and buffers; and for each round and client the length of its
        update, by parameter name.
    """
    seeds = Seeds(task.original["seed"]).fork("original")
    model = copy_model(task.classifier)
    past = Task(
        *(task.data, None, seeds, frozenset({"retain"}), model, task.build, task.device),
        flops=task.flops,
    )
    initial, lengths = State(), list[dict[int, Lengths]]()
    names = [name for name, _ in model.inner.named_parameters()]

    def recorded(
        present: State, states: Sequence[State], members: Sequence[Member], round: int
    ) -> State:
        if round == 0:
            initial.update(present)
        lengths.append(
            {
                member.client: {n: float((state[n] - present[n]).norm()) for n in names}
                for member, state in zip(members, states, strict=True)
            }
        )
        return average(states, [member.rows for member in members])

    compute = Compute.choose(str(task.device), macs=task.flops / 2)
    rounds = in_rounds(recipe.plan(model.inner, past), past, federation, merge=recorded)
    Engine(past, compute).run(rounds)
    task.preparation.set((task.preparation + past.cost).to_json())
    return initial, lengths


@torch.no_grad()
def scaled_to(present: State, state: State, lengths: Lengths) -> State:
    """Return *present* plus the update to *state*, each tensor scaled to its length.

    Buffers, and tensors whose update is zero, are those of *state*.

    >>> scaled_to({"w": torch.zeros(2)}, {"w": torch.tensor([3.0, 4.0])}, {"w": 10.0})["w"]
    tensor([6., 8.])
    """
    result = dict(state)
    for name, length in lengths.items():
        update = state[name] - present[name]
        norm = float(update.norm())
        if norm > 0:
            result[name] = present[name] + update * (length / norm)
    return result


def _recipe(settings: dict[str, Any]) -> Retrain:
    """The training of the Original, without its federation."""
    names = {field.name for field in fields(Retrain)}
    return Retrain(**{key: value for key, value in settings.items() if key in names})
