"""How to compute, apart from what."""

from __future__ import annotations

from dataclasses import dataclass

from coun.engine.device import Precision


@dataclass(frozen=True)
class Options:
    """How to compute, apart from what.

    Args:
        device: "auto", "cpu", "cuda", "cuda:1", ...
        precision: "auto" (bf16 where hardware has it and the net gains), "fp32" or "bf16".
        head: the model's last linear layer, where it cannot be found.
        checkpoint_every: seconds between checkpoints (only with an output folder).
        progress: bars on standard error.
        compile: torch.compile the training step; pays on long runs (docs/results/speed.md).
        workers: processes that read streamed data ahead of the loop.
        profile: measure where the time goes, into the record's "profile".
    """

    device: str = "auto"
    precision: Precision = "auto"
    head: str | None = None
    checkpoint_every: float = 60.0
    progress: bool = False
    compile: bool = False
    workers: int = 0
    profile: bool = False
