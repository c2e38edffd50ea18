"""Federated training: a stage of a plan becomes rounds of local training and averaging."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace

import torch

from coun.engine import Edit, Fit, Optimizer, Phase, Stage, Task
from coun.errors import CounError
from coun.federated.averaging import State, average, state_bytes, state_of
from coun.federated.federation import Federation

USE_ANOTHER = "use finetune, not, coun, l1_sparse, pgd, fed_eraser or retrain"
FEWEST = 2  # rows that a client trains on; BatchNorm cannot normalise a single one

Merge = Callable[[State, Sequence[State], Sequence["Member"], int], State]


@dataclass(frozen=True)
class Member:
    """A client that takes part in the rounds of a stage, with its number of rows."""

    client: int
    rows: int


@dataclass(frozen=True)
class PartOfSchedule(Optimizer):
    """The optimizer of one round, whose learning rates are a part of the whole schedule.

    Args:
        start: the fraction of the schedule that is done when the round begins.
        share: the fraction that the round covers.

    >>> whole = Optimizer(lr=0.1)
    >>> PartOfSchedule(lr=0.1, start=0.5, share=0.5).rate(0.0) == whole.rate(0.5)
    True
    """

    start: float = 0.0
    share: float = 1.0

    def rate(self, progress: float) -> float:
        return super().rate(self.start + self.share * progress)


def in_rounds(
    stages: Iterable[Stage],
    task: Task,
    federation: Federation,
    *,
    without: int | None = None,
    merge: Merge | None = None,
    complete: bool = False,
) -> Iterator[Stage]:
    """Turn every `Fit` of a plan into rounds of local training on the rows of each client.

    An `Edit` is applied once, by the server. In each round every client receives the model,
    trains it on its own rows of the roles that the stage reads, and sends it back; the server
    averages the models, weighted by rows. Momentum starts anew with every client and round, and
    the learning rate follows the schedule of the whole stage.

    Args:
        stages: a plan that reads retain rows only.
        federation: who holds which rows.
        without: a client that takes no part.
        merge: makes the next model of the present one, those of the clients, who the clients
            are, and the number of the round; by default the average.
        complete: whether a checkpoint needs only the last average of the first training stage
            (`Edit.complete`). False keeps the model of every client and round until the end.

    Raises: CounError for a stage that cannot be federated.

    >>> import coun
    >>> from torch import nn
    >>> from coun.models import Classifier
    >>> from coun.objectives import cross_entropy
    >>> from coun.seeds import Seeds
    >>> data, net = coun.load("digits", limit=40), nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    >>> model = Classifier(net, example=data.train.fetch(torch.arange(2)).float())
    >>> task = Task(data, None, Seeds(0), frozenset({"retain"}), model, None, torch.device("cpu"))
    >>> stage = Fit((Phase(cross_entropy("retain"), {"retain": 10}),), epochs=1, name="train")
    >>> federation = Federation(clients=2, local_epochs=1).bound_to(data)
    >>> [stage.name for stage in in_rounds([stage], task, federation)][-1]
    'train, round 1, server'
    """
    clients = federation.clients_of(task.data)
    for stage in stages:
        if isinstance(stage, Edit):
            yield stage
        else:
            _check(stage)
            yield from _rounds(
                stage, task, federation, clients, without, merge or _average, complete
            )
            complete = False  # a later stage may depend on what the plan reads from the model


def members_of(
    stage: Fit, task: Task, federation: Federation, clients: torch.Tensor, without: int | None
) -> list[Member]:
    """Return the clients with enough rows to take part, in their order."""
    role = _roles(stage)[0]
    held = clients[task.indices(role)]
    counts = torch.bincount(held, minlength=federation.clients).tolist()
    members = [Member(c, n) for c, n in enumerate(counts) if n >= FEWEST and c != without]
    if not members:
        raise CounError(
            f"no client has {FEWEST} rows to train on; expected at least one client that has"
        )
    return members


def local_fit(
    stage: Fit, task: Task, federation: Federation, clients: torch.Tensor, client: int, round: int
) -> Fit:
    """Return what one client trains in one round, counted from 0, as a stage of its own."""
    first = round * federation.local_epochs
    epochs = min(federation.local_epochs, stage.epochs - first)
    phases = []
    for phase in stage.phases:
        until = phase.until_epoch
        if until is not None and until <= first:
            continue
        roles = {
            role: _role_of_client(phase, role, task, clients, client) for role in phase.batch_sizes
        }
        remaining = None if until is None else until - first
        phases.append(replace(phase, until_epoch=remaining, roles=roles))
    optimizer = PartOfSchedule(
        **{field.name: getattr(stage.optimizer, field.name) for field in fields(Optimizer)},
        start=first / stage.epochs,
        share=epochs / stage.epochs,
    )
    name = f"{stage.name}, round {round + 1}, client {client}"
    later = stage.epochs - first - epochs
    return replace(
        stage,
        phases=tuple(phases),
        epochs=epochs,
        optimizer=optimizer,
        name=name,
        unaugmented_epochs=min(epochs, max(0, stage.unaugmented_epochs - later)),
    )


def _rounds(
    stage: Fit,
    task: Task,
    federation: Federation,
    clients: torch.Tensor,
    without: int | None,
    merge: Merge,
    complete: bool,
) -> Iterator[Stage]:
    model = task.classifier.inner
    members = members_of(stage, task, federation, clients, without)
    for round in range(math.ceil(stage.epochs / federation.local_epochs)):
        present, states = state_of(model), list[State]()
        for member in members:
            if states:
                yield _send(f"model to client {member.client}", present, stage.preparation)
            # Down to the client and up again.
            task.bill(stage.preparation).bytes_sent += 2 * state_bytes(model)
            yield local_fit(stage, task, federation, clients, member.client, round)
            states.append(state_of(model))
        merged = merge(present, states, members, round)
        name = f"{stage.name}, round {round + 1}, server"
        yield replace(_send(name, merged, stage.preparation), complete=complete)


def _send(name: str, state: State, preparation: bool) -> Edit:
    return Edit(name, lambda model: model.load_state_dict(state), preparation)


def _average(_: State, states: Sequence[State], members: Sequence[Member], round: int) -> State:
    return average(states, [member.rows for member in members])


def _roles(stage: Fit) -> list[str]:
    """The roles that a stage reads rows of, each once, in order."""
    return list(dict.fromkeys(p.source_of(role) for p in stage.phases for role in p.batch_sizes))


def _role_of_client(phase: Phase, role: str, task: Task, clients: torch.Tensor, client: int) -> str:
    """Define the part of a role that one client holds, and return its name."""
    name = phase.source_of(role)
    indices = task.indices(name)
    held = indices[clients[indices] == client]
    # One client with all rows draws the same batches as training without a federation.
    return name if len(held) == len(indices) else task.define(f"{name}, client {client}", held)


def _check(stage: Fit) -> None:
    reasons = {
        "trains modules beside the model, which cannot be averaged": bool(stage.modules),
        "trains a part of the model by itself": stage.model is not None,
        "has a fixed number of steps": any(p.steps is not None for p in stage.phases),
        "reads rows other than retained ones": any(
            not role.startswith("retain") for role in _roles(stage)
        ),
    }
    for reason, applies in reasons.items():
        if applies:
            raise CounError(f"{stage.name} {reason}, so it cannot be federated; {USE_ANOTHER}")
