"""One client's part of one round as a function, for engines on which clients are processes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from coun.data import Data, Split, load
from coun.data.data_set import blank_inputs
from coun.engine import Compute, Edit, Engine, Fit, Task, forward_flops
from coun.errors import CounError
from coun.federated.averaging import State, state_of
from coun.federated.federation import Federation
from coun.federated.method import Federated, FederatedMethod
from coun.federated.rounds import Member, local_fit, members_of
from coun.methods import contrast, make
from coun.models import Classifier, build, load_weights
from coun.seeds import Seeds


@dataclass(frozen=True)
class Job:
    """A federated training or unlearning in plain values, which any process can carry out.

    Every process loads the data, and a client trains on its own rows only. A `Job` gives the same
    numbers as `coun.train` and `coun.unlearn` in one process.

    Args:
        data: the source, with *limit*, as for `coun.load`.
        model: the name of a built-in network.
        federation: the clients.
        method: its name, with all *settings*, and the arguments of the contrastive module.
        kind: "original", "retrain" or "unlearned", as in the record of a run.
        forget: numbers of the rows to forget.
        weights: the file of the model to start from; empty for a training from scratch.
        seed: of the run.
    """

    data: str
    model: str
    federation: Federation
    method: str = "retrain"
    settings: Mapping[str, Any] = field(default_factory=dict)
    contrast: Mapping[str, Any] | None = None
    kind: Literal["original", "retrain", "unlearned"] = "original"
    forget: tuple[int, ...] = ()
    weights: str = ""
    limit: int | None = None
    seed: int = 0

    @cached_property
    def loaded(self) -> Data:
        """The rows of all clients."""
        return load(self.data, limit=self.limit)

    def task(self) -> Task:
        """Make a task with a new model, that of the start."""
        data = self.loaded
        shape = data.input_shape
        maker = partial(build, self.model, classes=len(data.classes), shape=shape)
        with Seeds(self.seed).as_global("init", "shape"):
            model = maker()
        if self.weights:
            load_weights(model, Path(self.weights))
        blank = blank_inputs(data)
        classifier = Classifier(model, example=blank)
        split = Split.by_index(data, self.forget) if self.forget else None
        return Task(
            *(data, split, Seeds(self.seed).fork(self.kind), frozenset({"retain"})),
            *(classifier, maker, torch.device("cpu"), forward_flops(classifier, blank[:1])),
        )

    def plan(self, task: Task) -> tuple[list[Edit], Fit, list[Member]]:
        """Return what the server edits first, what the clients then train, and who they are.

        Raises: CounError for a method whose rounds are not those of a single training stage.
        """
        method = make(self.method, self.settings)
        if self.contrast is not None:
            method = contrast(method, **self.contrast)
        if isinstance(method, FederatedMethod):
            raise CounError(
                f"{self.method} needs more than rounds of training; run it in one process"
            )
        Federated(method, self.federation)  # refuses what cannot be federated
        *edits, fit = method.plan(task.classifier.inner, task)
        before = [stage for stage in edits if isinstance(stage, Edit)]
        if not isinstance(fit, Fit) or len(before) < len(edits):
            raise CounError(
                f"{self.method} is not edits and then one training; run it in one process"
            )
        clients = self.federation.clients_of(self.loaded)
        return before, fit, members_of(fit, task, self.federation, clients, None)

    def start(self) -> tuple[State, int]:
        """Return the model that the first round begins with, and the number of rounds."""
        task = self.task()
        edits, fit, _ = self.plan(task)
        _engine(task).run(edits)
        rounds = math.ceil(fit.epochs / self.federation.local_epochs)
        return state_of(task.classifier.inner), rounds

    def train_locally(
        self, client: int, round: int, state: Mapping[str, Tensor]
    ) -> tuple[State, int]:
        """Train the model that the server sent on the rows of one client, for one round.

        Args:
            client: its number, counted from 0.
            round: counted from 0.
            state: weights and buffers of the server's model.

        Returns: weights and buffers after the round, and the number of rows that they count
            for: 0, with the model unchanged, for a client that takes no part.

        Raises: CounError for a client or a round that does not exist, and for the state of
            another model.
        """
        count = self.federation.clients
        if not 0 <= client < count:
            raise CounError(f"client {client} is none of the {count}; expected 0 to {count - 1}")
        if round < 0:
            raise CounError(f"round is {round}; expected 0 or more, because rounds count from 0")
        task = self.task()
        edits, fit, members = self.plan(task)
        places = {member.client: place for place, member in enumerate(members)}
        model = task.classifier.inner
        try:
            model.load_state_dict(dict(state))
        except RuntimeError as error:
            raise CounError(
                f"the server sent another model than {self.model}: {' '.join(str(error).split())}"
            ) from None
        if client not in places:
            return state_of(model), 0
        clients = self.federation.clients_of(self.loaded)
        # Random streams depend on the place of a stage in the plan, which is, in one process:
        # the edits, then for each round every client, what it is sent, and the average.
        place = len(edits) + 2 * len(members) * round + 2 * places[client]
        elsewhere = [Edit("elsewhere", lambda _: None)] * place
        stage = local_fit(fit, task, self.federation, clients, client, round)
        _engine(task).run([*elsewhere, stage])
        return state_of(model), members[places[client]].rows


def _engine(task: Task) -> Engine:
    return Engine(task, Compute.choose("cpu", "auto", flops=task.flops))
