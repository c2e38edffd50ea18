"""The losses of the steps of a phase: kept on the device, read now and then, and checked."""

from __future__ import annotations

import math
from statistics import fmean

import torch
from torch import Tensor

from coun.engine.batches import Progress
from coun.engine.process_group import ProcessGroup
from coun.errors import CounError


class Losses:
    """The losses of the present phase, the means over all ranks of *group*."""

    def __init__(self, group: ProcessGroup) -> None:
        self._group = group
        self._read: list[float] = []
        # Losses that are still on the device: reading each one would make the GPU wait.
        self._unread: list[Tensor] = []

    def add(self, loss: Tensor) -> None:
        """Add the loss of one step."""
        self._unread.append(loss.detach())

    def last(self, at: Progress, rate: float) -> float:
        """Check the losses since the last call, and return the last one.

        Every rank sees the same mean losses, so that all of them stop together.

        Raises: CounError if one is not finite.
        """
        recent = self._group.mean(_numbers(self._unread))
        self._unread.clear()
        self._read += recent
        if not all(map(math.isfinite, recent)):
            raise CounError(
                f"the loss became {recent[-1]} in epoch {at.epoch + 1}, step {at.step + 1}, at "
                f"lr {rate:.3g}; expected a finite number; try a lower lr, or --precision fp32"
            )
        return recent[-1]

    def end_phase(self) -> float:
        """Return the mean loss of the phase, and forget its losses."""
        mean = fmean(self._read)
        self._read.clear()
        return mean

    def so_far(self) -> list[float]:
        """The losses of the phase, for a checkpoint."""
        return self._read + _numbers(self._unread)

    def restore(self, losses: list[float]) -> None:
        """Go on from the losses of a checkpoint."""
        self._read = losses


def _numbers(losses: list[Tensor]) -> list[float]:
    return [float(x) for x in torch.stack(losses).tolist()] if losses else []
