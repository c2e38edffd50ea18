"""Relearn time: how soon a forget set is known again. The training itself is elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from coun.errors import CounError


@dataclass(frozen=True)
class RelearnTime:
    """Rounds (updates or epochs) until the target; `reached` is false where the cap came first."""

    rounds: float
    reached: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.rounds < float("inf"):
            raise CounError(f"a relearn time of {self.rounds}; expected a finite number from 0")


def relearn_time(accuracies: Sequence[float], target: float) -> RelearnTime:
    """The first round at which the forget accuracy is at least *target*.

    Args:
        accuracies: before training (round 0) and after each round, as far as was trained.
        target: usually the original model's forget accuracy minus 5 to 10 points.

    Returns: not `reached`, with the last round, if none is.

    Raises: CounError if *accuracies* is empty.
    """
    if not accuracies:
        raise CounError("no accuracies; expected at least the one before relearning")
    for done, found in enumerate(accuracies):
        if found >= target:
            return RelearnTime(float(done))
    return RelearnTime(float(len(accuracies) - 1), reached=False)


@dataclass(frozen=True)
class AnamnesisIndex:
    """AIN, and whether it is a value, a bound on the value, or undefined (then NaN)."""

    index: float
    kind: Literal["exact", "at least", "at most", "undefined"]


def anamnesis_index(unlearned: RelearnTime, retrain: RelearnTime) -> AnamnesisIndex:
    """AIN = unlearned model's relearn time / Retrain's; 1 is ideal, near 0 memory remains.

    A time cut by its cap gives a bound: the unlearned model's, from below; Retrain's, from
    above. Undefined if both were cut, or if Retrain needs no round at all (it is at the
    target untrained, so the target tells nothing).

    Source: Chundawat et al. 2023, "Zero-Shot Machine Unlearning"; the guards are ours.
    """
    if retrain.rounds == 0 or not (unlearned.reached or retrain.reached):
        return AnamnesisIndex(float("nan"), "undefined")
    index = unlearned.rounds / retrain.rounds
    if not unlearned.reached:
        return AnamnesisIndex(index, "at least")
    return AnamnesisIndex(index, "exact" if retrain.reached else "at most")
