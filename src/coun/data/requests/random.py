"""A uniform random share of the rows."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from coun.data.data_set import Data
from coun.data.requests.base import Request, Share, mask_of, rows_of_share
from coun.errors import CounError


class Random(Request):
    """Forget a uniform random share of the rows.

    Args:
        fraction: the share, above 0 and below 1.
        seed: of the draw; None takes the seed that `choose` is given.
        draw: "torch" takes the first rows of a seeded permutation, so that a larger fraction
            includes a smaller one; "salun" repeats the draw of SalUn's published code.
        among: "remaining" draws from the rows that were not forgotten before, "all" from all.

    >>> Random(fraction=0.1).describe()
    '10% of the rows, drawn at random'
    """

    kind: Literal["random"] = "random"
    fraction: Share = 0.1
    seed: int | None = None
    draw: Literal["torch", "salun"] = "torch"
    among: Literal["remaining", "all"] = "remaining"

    @property
    def among_remaining(self) -> bool:
        return self.among == "remaining"

    @property
    def drawn(self) -> bool:
        return True

    def choose(self, data: Data, *, seed: int = 0, scores: Any = None) -> Tensor:
        total = len(data.train)
        count = rows_of_share(total, self.fraction)
        seed = seed if self.seed is None else self.seed
        if not -(2**63) <= seed < 2**64:
            raise CounError(f"the seed of the draw is {seed}; expected a number below 2**64")
        if self.draw == "salun":
            # SalUn draws without replacement from RandomState(seed - 1).
            state = np.random.RandomState((seed - 1) % 2**32)
            return mask_of(state.choice(total, count, replace=False), total)
        order = torch.randperm(total, generator=torch.Generator().manual_seed(seed))
        return mask_of(order[:count], total)

    def completed(self, data: Data, seed: int) -> Random:
        return self if self.seed is not None else self.model_copy(update={"seed": seed})

    def describe(self) -> str:
        seed = "" if self.seed is None else f" (seed {self.seed})"
        return f"{100 * self.fraction:.4g}% of the rows, drawn at random{seed}"
