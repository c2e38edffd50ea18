"""How to compute a run, apart from what it computes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, get_args

from coun.engine.device import MemoryFormat, Precision
from coun.engine.loop import OnEpoch
from coun.errors import CounError, require_type

MOST_WORKERS = max(64, 4 * (os.cpu_count() or 1))  # more would only use up the memory


@dataclass(frozen=True)
class Options:
    """How to compute a run, apart from what it computes.

    Args:
        device: "auto", "cpu", "cuda", "cuda:1", ...
        precision: "auto" (bf16 where the hardware has it and the network gains), "fp32" or
            "bf16".
        head: the name of the model's last linear layer, where it cannot be found.
        checkpoint_every: seconds between checkpoints; used with an output folder only.
        progress: show progress bars on standard error.
        compile: torch.compile the training step; it pays on long runs (docs/results/speed.md).
        workers: processes that read streamed data ahead of the training loop.
        profile: measure where the time goes, into the record's "profile".
        keep_every: number of epochs of a training from scratch after which its weights are kept,
            for the method rewind; 0 keeps none.
        keep_freed_memory: let the C library keep memory that tensors free, for the whole
            process: about 10% faster for small networks on a CPU. The command line and bench
            workers set it; the library changes nothing in its process unless this is True.
        on_epoch: a function that is called after every epoch (where an epoch has several phases,
            after each of them) with a dictionary: "stage", "epoch" and "phase", counted from 1,
            the mean "loss" and the learning rate "lr". `coun.integrations` has writers for
            TensorBoard, Weights & Biases and MLflow. What it raises ends the run.
        memory_format: "channels_last", which is faster, or "contiguous", in which BatchNorm in
            float32 on a CPU is more exact (docs/results/parity.md).
        announce: with *progress*, also say before an unlearning what it costs and why its method
            was chosen.

    >>> Options(device="cpu").keep_freed_memory
    False
    """

    device: str = "auto"
    precision: Precision = "auto"
    head: str | None = None
    checkpoint_every: float = 60.0
    progress: bool = False
    compile: bool = False
    workers: int = 0
    profile: bool = False
    keep_every: int = 0
    keep_freed_memory: bool = False
    on_epoch: OnEpoch | None = field(default=None, compare=False)
    memory_format: MemoryFormat = "channels_last"
    announce: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "device", str(self.device))  # accepts a torch.device
        require_type(self.workers, int, "workers", "a number of processes")
        require_type(self.head, (str, type(None)), "head", "the name of a layer")
        if not (self.on_epoch is None or callable(self.on_epoch)):
            raise CounError(
                f"on_epoch is a {type(self.on_epoch).__name__}; expected a function of a dictionary"
            )
        require_type(self.checkpoint_every, (int, float), "checkpoint_every", "seconds")
        if str(self.precision) not in get_args(Precision):
            raise CounError(f"precision is {self.precision!r}; expected auto, fp32 or bf16")
        require_type(self.keep_every, int, "keep_every", "a number of epochs")
        if self.keep_every < 0:
            raise CounError(f"keep_every is {self.keep_every}; expected 0 or more")
        if str(self.memory_format) not in get_args(MemoryFormat):
            raise CounError(
                f"memory_format is {self.memory_format!r}; expected channels_last or contiguous"
            )
        if not self.checkpoint_every >= 0:
            raise CounError(f"checkpoint_every is {self.checkpoint_every}; expected 0 or more")
        if not 0 <= self.workers <= MOST_WORKERS:
            raise CounError(
                f"workers is {self.workers}; expected 0 to {MOST_WORKERS} processes on this machine"
            )

    @classmethod
    def of(
        cls,
        options: Options | None,
        head: str | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> Options:
        """Return *options*, or the defaults for None, with its *head* replaced if one is named.

        Args: settings: settings of a method; the name of an option among them is refused.

        Raises: CounError if *options* is something else, or an option is among the settings.
        """
        require_type(options, (Options, type(None)), "options", "coun.Options(...)")
        misplaced = next((f.name for f in fields(cls) if f.name in (settings or {})), None)
        if misplaced is not None:
            raise CounError(
                f"{misplaced} is not a setting of a method but says how to compute; write "
                f"options=coun.Options({misplaced}=...)"
            )
        options = options or cls()
        return options if head is None else replace(options, head=head)
