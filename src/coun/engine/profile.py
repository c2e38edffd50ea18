"""Where a run's wall time goes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import torch

_NOTHING = contextlib.nullcontext()


class Profile:
    """Seconds by part of the loop. A part inside another counts for itself only.

    Args:
        on: False measures nothing and costs nothing.
        device: a GPU is waited for at each part's ends, so that its work is charged where it
            was asked for; a profiled run on a GPU is therefore a little slower.
    """

    def __init__(self, on: bool, device: torch.device) -> None:
        self.on = on
        self.seconds: dict[str, float] = {}
        self._device = device
        self._inner = 0.0

    def part(self, name: str) -> contextlib.AbstractContextManager[None]:
        return self._timed(name) if self.on else _NOTHING

    @contextlib.contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        outer, self._inner = self._inner, 0.0
        start = self._now()
        try:
            yield
        finally:
            spent = self._now() - start
            self.seconds[name] = self.seconds.get(name, 0.0) + spent - self._inner
            self._inner = outer + spent

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()
