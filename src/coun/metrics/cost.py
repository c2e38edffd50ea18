"""What a run costs beside a Retrain."""

from __future__ import annotations

from collections.abc import Mapping

from coun.metrics.registry import Metric


def cost_ratio(cost: Mapping[str, float], retrain: Mapping[str, float]) -> float:
    """Return the seconds of a run over those of a Retrain.

    Args: the `cost` in the record of each run.

    >>> cost_ratio({"seconds": 3.0}, {"seconds": 12.0})
    0.25
    """
    return cost["seconds"] / retrain["seconds"]


COST_RATIO = Metric(
    "cost_ratio", "cost", "", cost_ratio, ("cost", "retrain.cost"),
    title="Seconds over those of Retrain", direction="lower", aims_at=0.0, column=90,
)  # fmt: skip
