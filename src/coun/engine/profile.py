"""Measuring where the wall time of a run goes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import torch

_NOTHING = contextlib.nullcontext()


class Profile:
    """Seconds spent in each part of the loop; time in an inner part does not count for the outer.

    Args:
        on: whether to measure; if not, nothing is measured and nothing is slowed down.
        device: on a GPU, the start and the end of each part wait for it, so that its work counts
            for the part that started it. A profiled run on a GPU is therefore a little slower.

    >>> profile = Profile(True, torch.device("cpu"))
    >>> with profile.part("loading"):
    ...     pass
    >>> list(profile.seconds)
    ['loading']
    """

    def __init__(self, on: bool, device: torch.device) -> None:
        self.on = on
        self.seconds: dict[str, float] = {}
        self._device = device
        self._inner = 0.0

    def part(self, name: str) -> contextlib.AbstractContextManager[None]:
        """Return a context whose time counts for the part *name*."""
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
