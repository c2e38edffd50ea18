"""Randomness as a pure function of a seed and a purpose, never a shared global stream.

Every draw comes from a generator seeded by (seed, purpose, position). Nothing has to be
saved to resume: step 731 of a run draws the same numbers however the run got there.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Seeds:
    """A tree of independent random streams.

    >>> views = Seeds(0).number("views", 3)
    >>> views == Seeds(0).number("views", 3), views == Seeds(0).number("order", 3)
    (True, False)
    """

    seed: int
    path: tuple[str | int, ...] = ()

    def fork(self, *path: str | int) -> Seeds:
        """The subtree named *path*: the same seed for another purpose."""
        return Seeds(self.seed, self.path + path)

    def number(self, *path: str | int) -> int:
        """A 63-bit integer for *path*."""
        text = "/".join(str(p) for p in (self.seed, *self.path, *path))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1

    def torch(self, *path: str | int) -> torch.Generator:
        """A CPU generator for *path*."""
        return torch.Generator().manual_seed(self.number(*path))

    def numpy(self, *path: str | int) -> np.random.Generator:
        """A NumPy generator for *path*."""
        return np.random.default_rng(self.number(*path))

    @contextlib.contextmanager
    def as_global(self, *path: str | int) -> Iterator[None]:
        """Seed torch's global generator inside the block, for layers that know no other.

        Weight initialisation and dropout draw from it; the caller's state is put back.
        """
        with torch.random.fork_rng():
            torch.manual_seed(self.number(*path))
            yield
