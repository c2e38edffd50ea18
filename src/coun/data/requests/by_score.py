"""What requests share that choose rows by a score."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from torch import Tensor

from coun.data.data_set import Data
from coun.data.requests.base import Request, Share, mask_of, rows_of_share
from coun.errors import CounError

Level = Literal["high", "middle", "low", "mix"]


class ByScore(Request):
    """A share of the rows, chosen by a score that models give them."""

    fraction: Share = 0.1
    level: Level = "high"

    @property
    def among_remaining(self) -> bool:
        return True

    def choose(self, data: Data, *, seed: int = 0, scores: Any = None) -> Tensor:
        values, total = np.asarray(scores, dtype=np.float64), len(data.train)
        if values.shape != (total,):
            raise CounError(
                f"scores have shape {values.shape}; expected one per training row, ({total},)"
            )
        count = rows_of_share(total, self.fraction)
        return mask_of(rows_by_score(values, count, self.level), total)


def rows_by_score(score: np.ndarray, count: int, level: Level) -> np.ndarray:
    """Choose *count* positions by *score*, (N,) float; ties are ordered by a fixed seed.

    Args: level: "high", "low", "middle" (around the median), or "mix", a third of each.

    Source: RUM (Zhao et al., NeurIPS 2024). Its code takes for the middle the rows whose scores
        are nearest in value to the median, or to 0.5 where the score is memorisation; here they
        are nearest in rank. The seeded order of ties is ours, so that the order of files does
        not decide.
    """
    shuffled = np.random.default_rng(0).permutation(len(score))
    order = shuffled[np.argsort(-score[shuffled], kind="stable")]
    third = [count // 3 + (part < count % 3) for part in range(3)]
    sizes = {"high": (count, 0, 0), "middle": (0, count, 0), "low": (0, 0, count), "mix": third}
    high, middle, low = sizes[level]
    start = (len(order) - middle) // 2
    chosen = [order[:high], order[start : start + middle], order[len(order) - low :]]
    return np.sort(np.concatenate(chosen))
