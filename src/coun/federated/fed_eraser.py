"""FedEraser: train again from the start, with the lengths of the stored updates."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass as plain_dataclass
from dataclasses import field, fields
from typing import Any, ClassVar, Literal

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


@plain_dataclass
class Memory:
    """What a replay of the training remembers of it.

    Args:
        initial: the weights and buffers before the first round.
        lengths: for each round and client the length of its update, by parameter name.
        shared: for each round the distance between the mean of the clients that stay and the
            server's model after the round, by parameter name.
        first: the mean of the clients that stay in the first of the rounds that mode=reference
            repeats.
    """

    initial: State = field(default_factory=dict)
    lengths: list[dict[int, Lengths]] = field(default_factory=list)
    shared: list[Lengths] = field(default_factory=list)
    first: State = field(default_factory=dict)


@dataclass(frozen=True, config=FROZEN)
class FedEraser(FederatedMethod):
    """Repeat some rounds without the forget rows, with the lengths of stored updates (FedEraser).

    From the initial model of the training, every `interval`-th round is repeated: each client
    trains on the rows that it still has, and its update is scaled, tensor by tensor, to the
    length of the update that it sent in that round of the training.

    Formula: theta becomes theta + mean of |stored| * update / |update| over the clients that stay.
    Cost: local_ratio / `interval` of a Retrain; the replay of the training is charged as
        preparation.
    Limits: it begins with the initial model, so with a large interval little is learned. It needs
        an Original of known training, and rows that were not forgotten before.
    Source: Liu et al., IWQoS 2021, equation 2. Their code has local_ratio 0.5 and interval 1.
    Differences: the authors store all updates during the training; here the training is replayed
        from its seed, and a resumed run replays it again. They take the stored updates of the
        first round as they are; here that round is repeated as well, because these updates may
        have seen forget rows where a client keeps some of its rows. mode=reference does what their
        code does instead: it averages the clients, all with the same weight, before it scales; the
        length is that of the mean of the stored models minus the server's model *after* the round,
        where the equation has the one before; and it repeats the last of every `interval` rounds,
        the first of which is the mean of the stored models. For interval > 1 these have learned
        from a model that the leaving client had a part in.
    """

    name: ClassVar[str] = "fed_eraser"
    source: ClassVar[str] = "FedEraser, Liu et al., IWQoS 2021"
    reads: ClassVar[frozenset[str]] = frozenset({"retain", "forget"})
    needs_original: ClassVar[bool] = True

    interval: Positive = Field(2, description="Every how many rounds one is repeated.")
    local_ratio: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Local epochs of a repeated round, as a share of those of the training (r); "
        "rounded up.",
    )
    mode: Literal["correct", "reference"] = Field(
        "correct", description="How updates are scaled: by equation 2, or as in the authors' code."
    )

    def settings(self) -> dict[str, Any]:
        settings = super().settings()
        # Left out where they are not set, so that records and hashes of 0.1 stay as they are.
        for key, default in (("local_ratio", 1.0), ("mode", "correct")):
            if settings[key] == default:
                del settings[key]
        return settings

    def check_clients(self, federation: Federation, data: Data, split: Split | None) -> None:
        if split is None:
            return
        if len(split.earlier):
            raise CounError(
                "fed_eraser starts from the Original, but this model has forgotten rows before; "
                "name all rows in one request"
            )
        clients = federation.clients_of(data)
        leaving, staying = (clients[split.rows(data, role)] for role in ("forget", "retain"))
        if self.mode == "reference" and bool(torch.isin(leaving, staying).any()):
            raise CounError(
                "fed_eraser with mode=reference uses stored models as they are, but a client keeps "
                "some of its rows; expected a request for all rows of a client (--forget-client), "
                "or mode=correct"
            )

    def federated_plan(
        self, model: nn.Module, task: Task, federation: Federation
    ) -> Iterator[Stage]:
        recipe = _recipe(task.original["settings"])
        trained = math.ceil(recipe.epochs / federation.local_epochs)
        if self.mode == "reference" and self.interval > trained:
            raise CounError(
                f"interval of fed_eraser is {self.interval}, but the training had {trained} "
                "rounds; expected at most as many with mode=reference"
            )
        leaving = set(federation.clients_of(task.data)[task.indices("forget")].tolist())
        memory = replay(task, federation, recipe, leaving, first=self.interval - 1)
        name, start = "initial model of the training", memory.initial
        rounds = memory.lengths[:: self.interval]
        shared = memory.shared[self.interval - 1 :: self.interval]
        if self.mode == "reference":
            name, start = "mean of the stored models", memory.first
            rounds = memory.lengths[2 * self.interval - 1 :: self.interval]

        def calibrated(
            present: State, states: Sequence[State], members: Sequence[Member], round: int
        ) -> State:
            if self.mode == "reference":
                return scaled_to(present, average(states, [1] * len(states)), shared[round + 1])
            scaled = [
                scaled_to(present, state, rounds[round][member.client])
                for state, member in zip(states, members, strict=True)
            ]
            return average(scaled, [member.rows for member in members])

        yield Edit(name, lambda m: m.load_state_dict(start))
        epochs = math.ceil(self.local_ratio * federation.local_epochs)
        whole = Fit(
            (Phase(cross_entropy("retain"), {"retain": recipe.batch_size}),),
            len(rounds) * epochs,
            recipe.optimization(),
            self.name,
        )
        shorter = federation.model_copy(update={"local_epochs": epochs})
        if rounds:
            yield from in_rounds([whole], task, shorter, merge=calibrated, complete=True)


def replay(
    task: Task, federation: Federation, recipe: Retrain, leaving: set[int], *, first: int = 0
) -> Memory:
    """Replay the Original's training, on a copy of the model, and charge it as preparation.

    Args:
        recipe: the training.
        leaving: the clients that leave.
        first: the round whose mean of the clients that stay is remembered.
    """
    seeds = Seeds(task.original["seed"]).fork("original")
    model = copy_model(task.classifier)
    past = Task(
        *(task.data, None, seeds, frozenset({"retain"}), model, task.build, task.device),
        flops=task.flops,
    )
    memory = Memory()
    names = [name for name, _ in model.inner.named_parameters()]

    def recorded(
        present: State, states: Sequence[State], members: Sequence[Member], round: int
    ) -> State:
        if round == 0:
            memory.initial.update(present)
        pairs = list(zip(members, states, strict=True))
        after = average(states, [member.rows for member in members])
        memory.lengths.append({member.client: _between(s, present, names) for member, s in pairs})
        if kept := [s for member, s in pairs if member.client not in leaving]:
            mean = average(kept, [1] * len(kept))
            memory.shared.append(_between(mean, after, names))
            if round == first:
                memory.first.update(mean)
        return after

    compute = Compute.choose(str(task.device), flops=task.flops)
    rounds = in_rounds(recipe.plan(model.inner, past), past, federation, merge=recorded)
    Engine(past, compute).run(rounds)
    task.preparation.set((task.preparation + past.cost).to_json())
    return memory


def _between(state: State, other: State, names: Sequence[str]) -> Lengths:
    return {name: float((state[name] - other[name]).norm()) for name in names}


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
