"""What a run of the training loop leaves behind besides weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from coun.engine.cost import Cost


@dataclass
class Log:
    """What a run leaves behind besides weights.

    Attributes:
        cost: what serving the request cost.
        preparation: what preparing for requests cost (`Stage.preparation`).
        history: one row per phase of each epoch, with the mean loss and the learning rate.
        stages: names of the stages, in order.
        profile: seconds per part of the loop, if they were measured.

    >>> log = Log()
    >>> log.cost.steps, log.history
    (0, [])
    """

    cost: Cost = field(default_factory=Cost)
    preparation: Cost = field(default_factory=Cost)
    history: list[dict[str, Any]] = field(default_factory=list)
    stages: list[str] = field(default_factory=list)
    profile: dict[str, float] = field(default_factory=dict)
