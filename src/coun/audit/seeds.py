"""What several seeds allow: a floor, an interval for one more Retrain, tests of means."""

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
    """RA, UA, TA and MIA over seeds, by metric; and the gap of the means.

    Each metric has `retrain` and `unlearned` (means), with two Retrains `floor` (mean distance
    of two of them) and `interval`, in which one more Retrain would lie with 95%
    (mean +/- t s sqrt(1 + 1/K)), and `inside`: how many unlearned models do. With two of each
    also `test` (paired where both have the same seeds, else Welch's; p corrected by Holm over
    the metrics) and `tost` (equivalence within *margin* points).

    Args: seeds: on record of the unlearned models and of the Retrains.
    """
    order = _pairing(*seeds)
    table: dict[str, Any] = {}
    for name in GAP_METRICS:
        mine, theirs = ([float(one[name]) for one in x] for x in (unlearned, retrains))
        row: dict[str, Any] = {"unlearned": float(np.mean(mine)), "retrain": float(np.mean(theirs))}
        if len(theirs) > 1:
            row["floor"] = float(np.mean([abs(a - b) for a, b in permutations(theirs, 2)]))
            low, high = _next(theirs)
            row["interval"] = [low, high]
            row["inside"] = sum(low <= value <= high for value in mine)
        if len(theirs) > 1 and len(mine) > 1:
            matched = [theirs[k] for k in order] if order else theirs
            test = (paired if order else welch)(mine, matched)
            row["test"] = {"kind": "paired" if order else "Welch", **vars(test)}
            row["tost"] = vars(equivalence(mine, matched, margin=margin, by_seed=bool(order)))
        table[name] = row
    tested = {name: row["test"] for name, row in table.items() if "test" in row}
    known = {name: t["p"] for name, t in tested.items() if not math.isnan(t["p"])}
    for name, p in holm(known).items():
        tested[name]["holm"] = p
    return {"metrics": table, "gap_of_means": gap_of_means(unlearned, retrains)}


def _pairing(mine: Sequence[int], theirs: Sequence[int]) -> list[int]:
    """Where the Retrain of each unlearned model's seed stands; empty if they do not match."""
    if len(set(mine)) != len(mine) or sorted(mine) != sorted(theirs):
        return []
    return [list(theirs).index(seed) for seed in mine]


def _next(values: Sequence[float]) -> tuple[float, float]:
    """The prediction interval for one more value."""
    count = len(values)
    spread = float(np.std(values, ddof=1)) * math.sqrt(1 + 1 / count)
    half = float(stdtrit(count - 1, (1 + LEVEL) / 2)) * spread
    middle = float(np.mean(values))
    return middle - half, middle + half
