"""Where a run computes, and in which precision."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, cast

import torch
from threadpoolctl import threadpool_limits
from torch import nn

from coun.engine.process_group import ProcessGroup
from coun.errors import CounError

Precision = Literal["auto", "fp32", "bf16"]
# Below this many multiply-adds an image, casting costs more than half precision saves.
BF16_MACS = 5e6
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt


@dataclass(frozen=True)
class Compute:
    """A device and a precision, both decided.

    Convolutions and matrix products run in bfloat16 autocast when `precision` is "bf16";
    weights, losses, similarities and every metric stay in float32 or float64. With `compile`
    training forwards and backwards of full batches go through torch.compile.
    """

    device: torch.device
    precision: Literal["fp32", "bf16"]
    compile: bool = False

    @classmethod
    def choose(
        cls,
        device: str = "auto",
        precision: Precision = "auto",
        *,
        macs: float = 0,
        compile: bool = False,
    ) -> Compute:
        """Decide "auto": a GPU where there is one; bf16 where hardware has it and the net
        (*macs* multiply-adds an image) is large enough to gain. Depends on the machine and
        the net only, never on a timing, so a run is decided alike each time.
        """
        if device == "auto":
            device = (
                f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if torch.cuda.is_available() else "cpu"
            )
        try:
            where = torch.device(device)
            torch.empty(0, device=where)
        except (RuntimeError, AssertionError) as error:
            raise CounError(
                f"device '{device}' cannot be used here ({_first_line(error)})"
            ) from error
        if precision == "auto":
            precision = "bf16" if _has_bf16(where) and macs >= BF16_MACS else "fp32"
        if compile and ProcessGroup.current().count > 1:
            raise CounError("--compile works in one process; leave it out under torchrun")
        if compile and where.type == "cpu" and not shutil.which(os.environ.get("CXX", "g++")):
            raise CounError("--compile needs a C++ compiler on the CPU, and g++ is not installed")
        return cls(where, precision, compile)

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def compiled(self, model: nn.Module) -> nn.Module:
        """*model* as it is trained: through torch.compile if that was asked for."""
        return cast(nn.Module, torch.compile(model, dynamic=False)) if self.compile else model

    def to_device(self, model: nn.Module) -> None:
        """Move *model* to the device, convolution weights in channels-last layout."""
        model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @staticmethod
    def to_cpu(model: nn.Module) -> None:
        """Move *model* to the CPU in the usual layout, which is how weights are kept."""
        model.to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]


def keep_freed_memory() -> None:
    """Have the C library keep what tensors free instead of handing it back to the system.

    A training step frees and takes the same large blocks over and over; fetching them anew,
    page by page, costs small networks a tenth of their time. Peak memory stays as it was.
    Does nothing where the C library is not glibc.
    """
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        for option, value in ((M_MMAP_THRESHOLD, 2**30), (M_TRIM_THRESHOLD, 2**31 - 1)):
            libc.mallopt(option, value)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one core inside the block: for nets so small that threads only wait."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(threads)


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(torch.cpu._is_avx512_bf16_supported())


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def environment() -> dict[str, str | int]:
    """Versions and machine, for a run's record."""
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "machine": platform.machine(),
        "system": platform.system(),
        "cpu_threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "",
    }
