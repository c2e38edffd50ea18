"""The anamnesis index: how soon forget rows are known again. `coun.analysis` does the training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from coun.errors import CounError


@dataclass(frozen=True)
class RelearnTime:
    """The rounds (steps or epochs) until a target was met, or until the limit, if not `reached`.

    >>> RelearnTime(12).reached
    True
    """

    rounds: float
    reached: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.rounds < float("inf"):
            raise CounError(f"a relearn time of {self.rounds}; expected a finite number from 0")


@dataclass(frozen=True)
class AnamnesisIndex:
    """The anamnesis index, and how it is to be read.

    Attributes:
        index: 1 is ideal; NaN where undefined.
        kind: whether it is the value or a bound on it.

    >>> anamnesis_index(RelearnTime(2, True), RelearnTime(8, True))
    AnamnesisIndex(index=0.25, kind='exact')
    """

    index: float
    kind: Literal["exact", "at least", "at most", "undefined"]


def anamnesis_index(unlearned: RelearnTime, retrain: RelearnTime) -> AnamnesisIndex:
    """Divide an unlearned model's relearn time by Retrain's: 1 is ideal, near 0 it remembers.

    If the unlearned model reached its limit, the index is a lower bound; if Retrain did, an
    upper bound. It is undefined if both did, or if Retrain needs no round at all: a target
    that is met without training tells nothing.

    Args: unlearned, retrain: rounds of either model until the same target.

    Source: Chundawat et al. 2023, "Zero-Shot Machine Unlearning"; the bounds are ours.

    >>> anamnesis_index(RelearnTime(5), RelearnTime(10))
    AnamnesisIndex(index=0.5, kind='exact')
    """
    if retrain.rounds == 0 or not (unlearned.reached or retrain.reached):
        return AnamnesisIndex(float("nan"), "undefined")
    index = unlearned.rounds / retrain.rounds
    if not unlearned.reached:
        return AnamnesisIndex(index, "at least")
    return AnamnesisIndex(index, "exact" if retrain.reached else "at most")
