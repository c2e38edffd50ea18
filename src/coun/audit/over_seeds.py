"""Compare means over seeds: a floor, an interval for one more Retrain, and tests."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import Any

import numpy as np
from scipy.special import stdtrit

from coun.metrics import GAP_METRICS, equivalence, gap_of_means, holm, paired, welch

LEVEL = 0.95


def over_seeds(
    unlearned: Sequence[Mapping[str, Any]],
    retrains: Sequence[Mapping[str, Any]],
    seeds: tuple[Sequence[int], Sequence[int]],
    *,
    margin: float,
) -> dict[str, Any]:
    """Summarise RA, UA, TA and MIA over seeds, and the gap of the means.

    Args:
        unlearned, retrains: what `describe` gave for each model.
        seeds: on record of the unlearned models and of the Retrains.
        margin: points that count as equivalent.

    Returns: `metrics`: by metric the means `unlearned` and `retrain`. With two Retrains also
        `floor` (mean distance of two of them), `interval`, in which one more Retrain would be
        with 95% (mean +/- t s sqrt(1 + 1/K)), and `inside`, how many unlearned models are. With
        two of each also `test` (paired where both have the same seeds, else Welch's; p corrected
        by Holm over the metrics) and `tost` (equivalence within *margin* points).
        `gap_of_means`: points.
    """
    order = _pairing(*seeds)
    table: dict[str, Any] = {}
    for name in GAP_METRICS:
        values, exact = ([float(row[name]) for row in x] for x in (unlearned, retrains))
        row: dict[str, Any] = {
            "unlearned": float(np.mean(values)),
            "retrain": float(np.mean(exact)),
        }
        if len(exact) > 1:
            row["floor"] = float(np.mean([abs(a - b) for a, b in permutations(exact, 2)]))
            low, high = _next(exact)
            row["interval"] = [low, high]
            row["inside"] = sum(low <= value <= high for value in values)
        if len(exact) > 1 and len(values) > 1:
            matched = [exact[k] for k in order] if order else exact
            test = (paired if order else welch)(values, matched)
            row["test"] = {"kind": "paired" if order else "Welch", **vars(test)}
            row["tost"] = vars(equivalence(values, matched, margin=margin, by_seed=bool(order)))
        table[name] = row
    tested = {name: row["test"] for name, row in table.items() if "test" in row}
    defined = {name: t["p"] for name, t in tested.items() if not math.isnan(t["p"])}
    for name, p in holm(defined).items():
        tested[name]["holm"] = p
    return {"metrics": table, "gap_of_means": gap_of_means(unlearned, retrains)}


def _pairing(seeds: Sequence[int], exact: Sequence[int]) -> list[int]:
    """Position of the Retrain with each unlearned model's seed; empty if they do not match."""
    if len(set(seeds)) != len(seeds) or sorted(seeds) != sorted(exact):
        return []
    return [list(exact).index(seed) for seed in seeds]


def _next(values: Sequence[float]) -> tuple[float, float]:
    """Prediction interval for one more value."""
    count = len(values)
    spread = float(np.std(values, ddof=1)) * math.sqrt(1 + 1 / count)
    half = float(stdtrit(count - 1, (1 + LEVEL) / 2)) * spread
    middle = float(np.mean(values))
    return middle - half, middle + half
