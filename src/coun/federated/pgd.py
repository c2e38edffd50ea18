"""PGD: ascent on a client's rows within a ball around the mean of the other clients."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from statistics import fmean
from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from coun.data import Data, Split
from coun.engine import Edit, Fit, Optimizer, Phase, Stage, Task
from coun.errors import CounError
from coun.federated.federation import Federation
from coun.federated.method import FederatedMethod
from coun.federated.rounds import in_rounds
from coun.objectives import cross_entropy
from coun.plans.epochs import error_rate
from coun.plans.method import FROZEN, Positive, Training

RANDOM_MODELS = 3  # whose mean distance from the reference gives the radius


@dataclass(frozen=True, config=FROZEN)
class PGD(FederatedMethod, Training):
    """Let the leaving client ascend its loss near the mean of the others, then average on (PGD).

    The reference is the mean of the other clients' models after one round. From there the
    leaving client makes steps of gradient ascent on its rows; after each step the weights are
    projected to a ball around the reference. It stops when its accuracy is that of guessing.
    Ordinary rounds of the other clients follow.

    Formula: theta becomes P(theta + lr * grad CE(forget)), where P projects to the ball of radius r
        around the mean of the other clients' models.
    Cost: one round for the reference, at most `steps` steps on the leaving client, and the rounds
        of fine-tuning.
    Limits: only for rows of a single client. Where the leaving client's classes are those of the
        others, the ascent harms them as well, and the rounds that follow must repair it.
    Source: Halimi et al., 2022, arXiv 2207.05521. The radius is as there a third of the mean
        distance between the reference and random models.
    Differences: the authors compute the reference from the stored models of the last training
        round; here it is that of one more round, whose cost counts. They use 10 random models,
        here there are 3. Their code compares squared distances, so that its ball is sqrt(3) times
        as large as in the paper (radius=0.577); it ascends with momentum 0.9 and gradients clipped
        to a norm of 5, and ends at a given distance from the client's own model.
    """

    name: ClassVar[str] = "pgd"
    source: ClassVar[str] = "Federated unlearning by PGD, Halimi et al., 2022"
    reads: ClassVar[frozenset[str]] = frozenset({"retain", "forget"})

    steps: Positive = Field(20, description="Largest number of ascent steps.")
    ascent_lr: float = Field(0.01, gt=0, description="Learning rate of the ascent.")
    reference_lr: float = Field(
        0.005, gt=0, description="Learning rate of the round that gives the reference."
    )
    radius: float = Field(
        1 / 3, gt=0, description="Radius of the ball, relative to the distance to random models."
    )

    def check_clients(self, federation: Federation, data: Data, split: Split | None) -> None:
        if split is None:
            return
        holders = set(federation.clients_of(data)[split.rows(data, "forget")].tolist())
        if len(holders) != 1:
            raise CounError(
                f"pgd needs rows of one client, but {len(holders)} clients hold rows to forget; "
                "name one client (--forget-client), or choose another method"
            )

    def federated_plan(
        self, model: nn.Module, task: Task, federation: Federation
    ) -> Iterator[Stage]:
        client = int(federation.clients_of(task.data)[task.indices("forget")][0])
        _, size = self.budget()
        one_round = self.fit(
            cross_entropy("retain"),
            name="reference",
            epochs=federation.local_epochs,
            optimizer=replace(self.optimization(), lr=self.reference_lr, schedule="constant"),
        )
        yield from in_rounds([one_round], task, federation, without=client)
        reference = {name: p.detach().clone() for name, p in model.named_parameters()}
        random_models = [task.fresh("pgd", number) for number in range(RANDOM_MODELS)]
        radius = self.radius * fmean(distance(other, reference) for other in random_models)
        ascent = Fit(
            (Phase(-cross_entropy("forget"), {"forget": size}, steps=1),),
            epochs=1,
            optimizer=Optimizer(lr=self.ascent_lr, momentum=0, weight_decay=0, schedule="constant"),
        )
        chance = 100 / len(task.data.classes)
        for step in range(self.steps):
            if 100 - error_rate(task, "forget") <= chance:
                break
            yield replace(ascent, name=f"ascent {step + 1}")
            yield Edit(f"projection {step + 1}", partial(project, center=reference, radius=radius))
        yield from in_rounds([self.fit(cross_entropy("retain"))], task, federation, without=client)


def distance(model: nn.Module, weights: dict[str, Tensor]) -> float:
    """Compute the Euclidean distance between the parameters of *model* and *weights*."""
    device = next(iter(weights.values())).device
    squares = [
        float((p.detach().to(device) - weights[name]).double().square().sum())
        for name, p in model.named_parameters()
    ]
    return math.sqrt(sum(squares))


@torch.no_grad()
def project(model: nn.Module, *, center: dict[str, Tensor], radius: float) -> None:
    """Move the parameters of *model* to the nearest point within *radius* of *center*.

    >>> layer = nn.Linear(1, 1, bias=False)
    >>> _ = layer.weight.data.fill_(5.0)
    >>> project(layer, center={"weight": torch.tensor([[1.0]])}, radius=2.0)
    >>> layer.weight.item()
    3.0
    """
    away = distance(model, center)
    if away <= radius:
        return
    for name, parameter in model.named_parameters():
        parameter.copy_(center[name] + (parameter - center[name]) * (radius / away))
