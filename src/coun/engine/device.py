"""Where a run computes, and in which precision.

Training uses bfloat16 if the hardware supports it and the network has at least `BF16_FLOPS`
operations per forward pass of one row. Weights, losses and similarities stay in float32. Metrics
use float32 forward passes and float64 probabilities.
"""

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
from torch import Tensor, nn

from coun.engine.process_group import ProcessGroup
from coun.errors import CounError, first_line, nearest
from coun.models.outputs import out_of_memory
from coun.seeds import Seeds

Precision = Literal["auto", "fp32", "bf16"]
MemoryFormat = Literal["channels_last", "contiguous"]
# Below this many operations per row, casting costs more than half precision saves.
BF16_FLOPS = 1e7
LAYOUTS = {"channels_last": "channels_last", "contiguous": "contiguous_format"}  # torch's names
DEVICES = ("cpu", "cuda", "mps", "xpu")
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # parameters of glibc's mallopt


@dataclass(frozen=True)
class Compute:
    """The device and the precision of a run.

    With precision "bf16", convolutions and matrix products run in bfloat16 autocast; weights,
    losses, similarities and every metric stay in float32 or float64. With `compile`, the forward
    and backward passes of training go through torch.compile. `memory_format` is the layout of
    images and convolution weights.

    >>> Compute.choose("cpu", "fp32").precision
    'fp32'
    """

    device: torch.device
    precision: Literal["fp32", "bf16"]
    compile: bool = False
    memory_format: MemoryFormat = "channels_last"

    @classmethod
    def choose(
        cls,
        device: str = "auto",
        precision: Precision = "auto",
        *,
        flops: float = 0,
        compile: bool = False,
        memory_format: MemoryFormat = "channels_last",
    ) -> Compute:
        """Decide what "auto" means here.

        The decision depends only on the machine and the network, never on a measured time, so
        that the same run is decided in the same way every time.

        Args:
            device: "auto" takes a GPU if there is one; otherwise the name of a torch device.
            precision: "auto" takes bf16 if the hardware supports it and the network is large
                enough to gain from it.
            flops: floating-point operations of one forward pass of one row.
            compile: whether to use torch.compile.
            memory_format: "channels_last", which is faster, or "contiguous", in which BatchNorm
                is more exact on the CPU (docs/results/parity.md).

        Raises: CounError if the device cannot be used, or compiling is not possible here.
        """
        if device == "auto":
            device = (
                f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if torch.cuda.is_available() else "cpu"
            )
        kind = device.partition(":")[0]
        if kind not in DEVICES:
            meant = (
                " (did you mean 'cuda'?)" if kind in ("gpu", "nvidia") else nearest(kind, DEVICES)
            )
            raise CounError(
                f"unknown device '{device}'{meant}; expected auto, {', '.join(DEVICES)}, or one of "
                "several, such as cuda:1"
            )
        try:
            where = torch.device(device)
            torch.empty(0, device=where)
        except (RuntimeError, AssertionError) as error:
            reason = first_line(error).partition(". ")[0]
            raise CounError(
                f"device '{device}' cannot be used here ({reason}); expected a device of this "
                "machine, try --device auto"
            ) from error
        if precision == "auto":
            precision = "bf16" if _has_bf16(where) and flops >= BF16_FLOPS else "fp32"
        if compile and ProcessGroup.current().count > 1:
            raise CounError("--compile works in one process only; leave it out under torchrun")
        if compile and where.type == "cpu" and not shutil.which(os.environ.get("CXX", "g++")):
            raise CounError(
                "--compile needs a C++ compiler on the CPU, and g++ is not installed; install it, "
                "or leave --compile out"
            )
        return cls(where, precision, compile, memory_format)

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """Return a context in which forward passes use the precision."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    @contextlib.contextmanager
    def within_memory(self) -> Iterator[None]:
        """Say what to do where a training step does not fit into the memory of the device."""
        try:
            yield
        except torch.OutOfMemoryError as error:
            raise out_of_memory("a training step", self.device) from error

    def compiled(self, model: nn.Module) -> nn.Module:
        """Return *model* as it is trained: through torch.compile if `compile` is set."""
        return cast(nn.Module, torch.compile(model, dynamic=False)) if self.compile else model

    def to_device(self, model: nn.Module) -> None:
        """Move *model* to the device, with the weights of 2D convolutions in the memory format."""
        model.to(self.device)
        layout = getattr(torch, LAYOUTS[self.memory_format])
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.ndim == 4:  # channels_last is not defined for others
                tensor.data = tensor.data.to(memory_format=layout)

    def view_generator(
        self, seeds: Seeds, transform: object, path: tuple[str | int, ...]
    ) -> torch.Generator:
        """Return the generator of a view, on a GPU where the transform can draw there.

        A GPU has a random stream of its own: drawing on the CPU would make it wait for a copy of
        the draws at each step. On a CPU the stream is that of version 0.1.
        """
        if self.device.type == "cuda" and getattr(transform, "draws_on_device", False):
            number = seeds.number("views on the device", *path)
            return torch.Generator(self.device).manual_seed(number)
        return seeds.torch("views", *path)

    def laid_out(self, images: Tensor) -> Tensor:
        """Return a batch of *images* in the memory format; views give it channels last."""
        return images.contiguous() if self.memory_format == "contiguous" else images

    @staticmethod
    def to_cpu(model: nn.Module) -> None:
        """Move *model* to the CPU in the usual memory layout, in which weights are stored."""
        model.to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]


def sent(batch: Tensor, device: torch.device) -> Tensor:
    """Return *batch* on *device*; a copy to a GPU does not make the program wait.

    >>> sent(torch.ones(2), torch.device("cpu"))
    tensor([1., 1.])
    """
    if device.type != "cuda" or batch.is_cuda:
        return batch.to(device)
    pinned = batch if batch.is_pinned() else batch.pin_memory()
    return pinned.to(device, non_blocking=True)


def seed_layers(number: int, device: torch.device) -> None:
    """Seed the global generators that layers such as dropout draw from, of the CPU and *device*.

    `torch.manual_seed` would format a stack trace for each kind of accelerator that is absent,
    which takes a third of a step of a small network.
    """
    torch.default_generator.manual_seed(number)
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        torch.cuda.default_generators[index].manual_seed(number)
    elif device.type != "cpu":
        torch.manual_seed(number)


def fixed_algorithms(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Return a context in which a GPU computes the same bits each time, in full float32.

    By default, cuDNN may choose an algorithm by timing several, or one whose sums have no fixed
    order, and rounds the inputs of float32 convolutions to 10 bits (TF32). What the host process
    has set is restored afterwards. On a CPU nothing changes.

    >>> with fixed_algorithms(torch.device("cuda")):
    ...     torch.backends.cudnn.deterministic, torch.backends.cudnn.allow_tf32
    (True, False)
    """
    if device.type != "cuda":
        return contextlib.nullcontext()
    return torch.backends.cudnn.flags(
        enabled=torch.backends.cudnn.enabled,
        benchmark=False,
        deterministic=True,
        allow_tf32=False,
    )


def keep_freed_memory() -> None:
    """Let the C library keep freed memory for later use, for the rest of this process.

    A training step allocates and frees the same large blocks again and again. Fetching them anew
    from the operating system, page by page, costs small networks a tenth of their time. The peak
    memory use stays the same. Where the C library is not glibc, this does nothing. Because it
    changes the whole process, a library call never does it unless the caller asks for it.
    """
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        for option, value in ((M_MMAP_THRESHOLD, 2**30), (M_TRIM_THRESHOLD, 2**31 - 1)):
            libc.mallopt(option, value)


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Compute with *count* threads inside the block; their number is restored afterwards.

    The last bits of results depend on it. One thread is best for small networks, where more of
    them only add overhead.

    >>> with threads(1):
    ...     torch.get_num_threads()
    1
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with threadpool_limits(count):
            yield
    finally:
        torch.set_num_threads(before)


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(torch.cpu._is_avx512_bf16_supported())


def environment() -> dict[str, str | int]:
    """Return versions and machine, for the record of a run.

    >>> sorted(environment())
    ['cpu_threads', 'gpu', 'machine', 'python', 'system', 'torch']
    """
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "machine": platform.machine(),
        "system": platform.system(),
        "cpu_threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "",
    }
