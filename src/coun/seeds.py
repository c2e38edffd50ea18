"""Randomness as a pure function of a seed and a purpose, instead of one shared stream.

Every draw comes from a generator that is seeded by the seed, the purpose and the position. No
state has to be saved for a resume: step 731 of a run draws the same numbers, no matter how often
the run was interrupted before. The texts of the purposes are part of every published result.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from coun.errors import CounError

_GLOBAL_GENERATOR = threading.RLock()  # torch has one for all threads


def _renew_lock() -> None:
    """Make the lock anew in a forked process: the thread that held it does not exist there."""
    global _GLOBAL_GENERATOR
    _GLOBAL_GENERATOR = threading.RLock()


if hasattr(os, "register_at_fork"):  # not on Windows, where no process is forked
    os.register_at_fork(after_in_child=_renew_lock)


def check_defaults_of_torch() -> None:
    """Refuse a process in which torch computes in another type or on another device.

    Results would depend on it: the library makes float32 tensors, moves them itself, and decides
    where half precision is used.

    Raises: CounError that says how to restore the default.

    >>> check_defaults_of_torch()
    """
    dtype, device = torch.get_default_dtype(), "a device that torch does not have here"
    with contextlib.suppress(RuntimeError, AssertionError):  # of a torch without it
        device = str(torch.get_default_device())
    if dtype != torch.float32:
        name = str(dtype).removeprefix("torch.")
        raise CounError(
            f"torch's default type is {name}, but coun computes in float32; call "
            "torch.set_default_dtype(torch.float32), and model.float() on a model of your own"
        )
    if not device.startswith("cpu"):
        raise CounError(
            f"torch's default device is {device}, but coun moves tensors itself; call "
            "torch.set_default_device(None), or leave the block 'with torch.device(...)', and "
            "choose the device by Options(device=...) or --device"
        )
    if any(torch.is_autocast_enabled(kind) for kind in ("cpu", "cuda")):
        raise CounError(
            "torch.autocast is on, but coun chooses the precision itself; leave the block 'with "
            "torch.autocast(...)', and choose by Options(precision=...) or --precision"
        )


@contextlib.contextmanager
def restored_generator(devices: Sequence[torch.device] | None = None) -> Iterator[None]:
    """Restore the states of torch's global generators after the block.

    Other threads that call this library wait for the end of the block: they would draw from the
    same generators, and restore them to a state from inside the block.

    Args: devices: accelerators whose generators are restored beside the CPU's; by default all.

    >>> before = torch.get_rng_state()
    >>> with restored_generator():
    ...     drawn = torch.rand(2)
    >>> torch.equal(torch.get_rng_state(), before)
    True
    """
    with _GLOBAL_GENERATOR, torch.random.fork_rng(devices):
        yield


@dataclass(frozen=True)
class Seeds:
    """A tree of independent random streams.

    Args:
        seed: the seed of the whole tree.
        path: the purpose of this subtree.

    >>> views = Seeds(0).number("views", 3)
    >>> views == Seeds(0).number("views", 3), views == Seeds(0).number("order", 3)
    (True, False)
    """

    seed: int
    path: tuple[str | int, ...] = ()

    def fork(self, *path: str | int) -> Seeds:
        """Return the subtree for *path*: the same seed for another purpose.

        >>> Seeds(0).fork("epoch", 3).number("order") == Seeds(0).number("epoch", 3, "order")
        True
        """
        return Seeds(self.seed, self.path + path)

    def number(self, *path: str | int) -> int:
        """Return the 63-bit integer for *path*."""
        text = "/".join(str(p) for p in (self.seed, *self.path, *path))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1

    def torch(self, *path: str | int) -> torch.Generator:
        """Return a torch generator on the CPU for *path*.

        >>> torch.rand(2, generator=Seeds(0).torch("views", 3)).equal(
        ...     torch.rand(2, generator=Seeds(0).torch("views", 3)))
        True
        """
        return torch.Generator().manual_seed(self.number(*path))

    def numpy(self, *path: str | int) -> np.random.Generator:
        """Return a NumPy generator for *path*."""
        return np.random.default_rng(self.number(*path))

    @contextlib.contextmanager
    def as_global(self, *path: str | int) -> Iterator[None]:
        """Seed torch's global generator inside the block, and restore its state afterwards.

        Weight initialisation and dropout can only draw from this generator.

        >>> with Seeds(0).as_global("init"):
        ...     first = torch.nn.Linear(2, 2).weight
        >>> with Seeds(0).as_global("init"):
        ...     second = torch.nn.Linear(2, 2).weight
        >>> bool((first == second).all())
        True
        """
        with restored_generator():
            _seed_generators(self.number(*path))
            yield


def _seed_generators(number: int) -> None:
    """Seed torch's global generators of the CPU and of every accelerator of this machine.

    `torch.manual_seed` would format a stack trace for each kind of accelerator that is absent, to
    seed it later. That takes longer than a small network takes to predict a hundred rows.
    """
    accelerators = (torch.cuda, torch.backends.mps, torch.xpu)
    if any(kind.is_available() for kind in accelerators):
        torch.manual_seed(number)
    else:
        torch.default_generator.manual_seed(number)
