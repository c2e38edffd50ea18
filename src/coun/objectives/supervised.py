"""Terms that use labels."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from coun.objectives.objective import Objective
from coun.objectives.step import Step


def cross_entropy(role: str = "retain", *, view: int = 0) -> Objective:
    """Mean cross entropy (nats) of one view of *role* against its labels."""

    def term(step: Step) -> Tensor:
        return F.cross_entropy(step.outputs(role, view).logits, step.labels(role))

    return Objective.of(term)
