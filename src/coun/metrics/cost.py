"""What a run costs beside a Retrain."""

from __future__ import annotations

from collections.abc import Mapping

from coun.metrics.registry import Metric


def cost_ratio(cost: Mapping[str, float], retrain: Mapping[str, float]) -> float:
    """Return the floating-point operations of a run divided by those of a Retrain.

    Operations do not depend on what else the machine did meanwhile, as seconds do.

    Args: cost, retrain: the `cost` in the record of each run; their key "flops" is read.

    Returns: the ratio; infinite for a Retrain that had nothing to train.

    >>> cost_ratio({"flops": 3e9}, {"flops": 12e9})
    0.25
    """
    return cost["flops"] / retrain["flops"] if retrain["flops"] else float("inf")


COST_RATIO = Metric(
    "cost_ratio", "cost", "", cost_ratio, ("cost", "retrain.cost"),
    title="Operations divided by Retrain's", direction="lower", column=90,
)  # fmt: skip
