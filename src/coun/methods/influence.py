"""Influence unlearning: one Newton step that removes the influence of the forget rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from coun.engine import Edit, Stage, Task, mean_gradient
from coun.plans.curvature import flatten, solve_fisher, woodfisher_recursion
from coun.plans.method import FROZEN, Method, Positive


@dataclass(frozen=True, config=FROZEN)
class Influence(Method):
    """Undo the influence of the forget rows by one step along an inverse Fisher (influence, IU).

    A Newton step estimates where the weights would be if the forget rows had never counted.
    There is no training.

    Formula: theta = theta + alpha H^-1 v, where v = (n_u / n) (mean forget gradient - mean retain
        gradient) and H = I + (1 / samples) sum of g g^T over the gradients g of single retain
        samples, drawn at random.
    Cost: one pass over all rows, and one backward pass for each of `samples` rows in every
        iteration of the solver.
    Limits: the estimate holds near a minimum of a convex loss, which a deep network is not. It can
        cost more than a Retrain of a small model.
    Source: Izzo et al., AISTATS 2021; Jia et al., NeurIPS 2023 (IU). alpha is 0.2 in their command
        line and up to 20 in papers, for a recursion that gives another direction; the default here,
        1, is Newton's own step.
    Differences: "exact" solves with H by conjugate gradients, batch by batch, with only a few
        vectors in memory. "reference" is the WoodFisher recursion of the authors' code, which
        carries along the gradient of the *first* sample where Sherman-Morrison needs H_t g_t of
        each sample. Their samples are the first 1,000 rows of the file.
    """

    name: ClassVar[str] = "influence"
    source: ClassVar[str] = "Izzo et al., AISTATS 2021; Jia et al., NeurIPS 2023"
    reads: ClassVar[frozenset[str]] = frozenset({"retain", "forget"})
    trains: ClassVar[bool] = False

    alpha: float = Field(
        1.0,
        allow_inf_nan=False,
        description="Length of the step: 1 is Newton's step, 0 changes nothing.",
    )
    mode: Literal["exact", "reference"] = Field(
        "exact", description="How H^-1 is applied: exactly, or as in the authors' code."
    )
    samples: Positive = Field(1000, description="Largest number of retain rows in H.")
    batch_size: Positive = Field(128, description="Images per batch; only the speed depends on it.")

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        retain, forget = task.indices("retain"), len(task.indices("forget"))
        order = torch.randperm(len(retain), generator=task.seeds.torch("influence"))
        role = task.define("influence", retain[order[: self.samples]])
        forget_gradient, retain_gradient = (
            mean_gradient(task, r, batch_size=self.batch_size) for r in ("forget", "retain")
        )
        v = (flatten(forget_gradient) - flatten(retain_gradient)) * (
            forget / (forget + len(retain))
        )
        if self.mode == "reference":
            step = woodfisher_recursion(task, role, v, self.samples)
        else:
            step = solve_fisher(task, role, v, self.samples, self.batch_size)
        names = list(forget_gradient)
        yield Edit("influence step", lambda m: _add(m, names, self.alpha * step))


@torch.no_grad()
def _add(model: nn.Module, names: list[str], change: Tensor) -> None:
    """Add the vector *change* to the named parameters, in place."""
    parameters = [model.get_parameter(name) for name in names]
    parts = torch.split(change, [p.numel() for p in parameters])
    for parameter, part in zip(parameters, parts, strict=True):
        parameter.add_(part.view(parameter.shape))
