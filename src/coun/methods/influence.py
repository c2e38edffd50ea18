"""Influence unlearning: one Newton step away from the forget set."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from coun.engine import Edit, Stage, Task, mean_gradient
from coun.plans.curvature import flat, recursion, solve
from coun.plans.method import FROZEN, Method, Positive


@dataclass(frozen=True, config=FROZEN)
class Influence(Method):
    """Undo the forget set's influence by one step along an inverse Fisher (influence).

    theta + alpha H^-1 v, where v = (n_u / n) (mean forget gradient - mean retain gradient) and
    H = I + (1 / samples) sum of g g^T over single retain samples, drawn at random. No training.

    "exact" solves with H by conjugate gradients, batch by batch, with a handful of vectors
    in memory. "reference" is the WoodFisher recursion of the authors' code, which carries the
    *first* sample's gradient along where Sherman-Morrison needs H_t g_t for each sample.

    Source: Izzo et al., AISTATS 2021; Jia et al., NeurIPS 2023 (IU). Their samples are the
        first 1,000 rows of the file. alpha: 0.2 in their command line, up to 20 in papers,
        for a recursion that is another direction; 1, Newton's own step, is the default here.
    """

    name: ClassVar[str] = "influence"
    source: ClassVar[str] = "Izzo et al., AISTATS 2021; Jia et al., NeurIPS 2023"
    reads: ClassVar[frozenset[str]] = frozenset({"retain", "forget"})
    trains: ClassVar[bool] = False

    alpha: float = Field(1.0, description="length of the step; 1 is Newton's, 0 changes nothing")
    mode: Literal["exact", "reference"] = Field("exact", description="how H^-1 is applied")
    samples: Positive = Field(1000, description="retain samples behind H, at most")
    batch_size: Positive = Field(128, description="images a batch; changes the speed only")

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        rows, forget = task.rows("retain"), len(task.rows("forget"))
        drawn = torch.randperm(len(rows), generator=task.seeds.torch("influence"))
        role = task.define("influence", rows[drawn[: self.samples]])
        away, back = (
            mean_gradient(task, r, batch_size=self.batch_size) for r in ("forget", "retain")
        )
        v = (flat(away) - flat(back)) * (forget / (forget + len(rows)))
        if self.mode == "reference":
            step = recursion(task, role, v, self.samples)
        else:
            step = solve(task, role, v, self.samples, self.batch_size)
        yield Edit("influence step", lambda m: _add(m, list(away), self.alpha * step))


@torch.no_grad()
def _add(model: nn.Module, names: list[str], change: Tensor) -> None:
    parameters = [model.get_parameter(name) for name in names]
    for p, part in zip(
        parameters, torch.split(change, [p.numel() for p in parameters]), strict=True
    ):
        p.add_(part.view(p.shape))
