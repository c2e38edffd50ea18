"""How near a model is to Retrains of its request, and how near these are to each other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from statistics import fmean
from typing import Any

from coun.metrics import GAP_METRICS, Measurements


def nearness(model: Measurements, retrains: Sequence[Measurements]) -> dict[str, Any]:
    """Compare *model* with each of *retrains*, and the Retrains with each other.

    Args:
        model: the metrics of one model.
        retrains: those of one or more Retrains of the same request, measured in the same way.

    Returns: by name, the mean over Retrains of every metric that compares a model with a
        Retrain; "retrain", the Retrains' mean of every metric of which Retrain's value is the
        aim; "gap", the model's value minus that mean, for the metrics of the average gap; and
        with two Retrains or more "floor", what the same comparisons give between Retrains.
    """
    aims = [name for name, metric in model.metrics.items() if metric.direction == "nearer"]
    models = (model, *retrains)
    common = [n for n in aims if all(isinstance(m.value_or_none(n), float) for m in models)]
    means = {name: fmean(retrain[name] for retrain in retrains) for name in common}
    result: dict[str, Any] = {
        **_mean_comparison([(model, retrain) for retrain in retrains]),
        "retrain": means,
        "gap": {name: model[name] - means[name] for name in GAP_METRICS if name in means},
    }
    result.setdefault("average_gap", None)
    if len(retrains) > 1:
        result["floor"] = _mean_comparison(list(combinations(retrains, 2)))
        result["floor"].pop("cost_ratio", None)
    return result


def _mean_comparison(pairs: Sequence[tuple[Measurements, Measurements]]) -> dict[str, float]:
    """The mean over *pairs* of every number that compares a model with a Retrain."""
    comparisons = []
    for model, retrain in pairs:
        values, _ = model.against(retrain).values_by_name()
        comparisons.append({name: x for name, x in values.items() if name not in model})
    names = [n for n in comparisons[0] if all(isinstance(c.get(n), float) for c in comparisons)]
    return {name: fmean(values[name] for values in comparisons) for name in names}
