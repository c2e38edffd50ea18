"""What a run costs: arithmetic, rows, seconds, memory."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from coun.models.modes import in_eval_mode
from coun.seeds import restored_generator


@dataclass
class Cost:
    """The cost of a run, counted during the run; a resumed run continues the count.

    `flops` counts what was executed: 1 for a forward pass, 2 for a backward pass. The paper counts
    only the forward pass of CoUn's second view; here both views count fully if both are trained.

    Attributes:
        steps: optimizer steps.
        samples_seen: rows in the minibatches of all steps.
        forward_images: images that went through a forward pass.
        trained_images: those of them that went through a backward pass.
        flops: floating-point operations; a multiply-add counts as 2.
        seconds: wall time, without what torch loads with the first optimizer of a process.
        peak_memory_mib: highest memory use, in MiB.
        bytes_sent: bytes of models sent between server and clients, in a federation.

    >>> cost = Cost()
    >>> cost.count(images=10, flops_per_image=5.0, grad=True)
    >>> cost.flops
    150.0
    """

    steps: int = 0
    samples_seen: int = 0
    forward_images: int = 0
    trained_images: int = 0
    flops: float = 0.0
    seconds: float = 0.0
    peak_memory_mib: float = 0.0
    bytes_sent: int = 0

    def count(self, images: int, flops_per_image: float, *, grad: bool) -> None:
        """Add one forward pass of *images*, and its backward pass if *grad*."""
        self.forward_images += images
        self.trained_images += images * grad
        self.flops += images * flops_per_image * (3 if grad else 1)

    def __add__(self, other: Cost) -> Cost:
        both = {name: value + getattr(other, name) for name, value in asdict(self).items()}
        return Cost(**{**both, "peak_memory_mib": max(self.peak_memory_mib, other.peak_memory_mib)})

    def note_memory(self, device: torch.device) -> None:
        """Record the highest memory use so far: of a GPU, or of this process on a CPU."""
        if device.type == "cuda":
            peak = torch.cuda.max_memory_allocated(device) / 2**20
        else:
            peak = _peak_memory_of_process()
        self.peak_memory_mib = max(self.peak_memory_mib, round(peak, 1))

    def set(self, values: dict[str, Any]) -> None:
        """Take over the values that `to_json` returned."""
        for name, value in values.items():
            setattr(self, name, value)

    def to_json(self) -> dict[str, float]:
        """Return the values by name."""
        return asdict(self)


def _peak_memory_of_process() -> float:
    """Return the peak memory of this process in MiB; 0 where the system does not say (Windows)."""
    try:
        import resource
    except ImportError:
        return 0.0
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def forward_flops(classifier: nn.Module, image: Tensor) -> float:
    """Count the floating-point operations of one forward pass of one image.

    Args:
        classifier: any module; its training mode is restored afterwards.
        image: (1, ...), one input.

    Returns: operations of convolutions and matrix products only, as torch counts them: a
        multiply-add is 2.

    >>> forward_flops(nn.Linear(10, 3), torch.zeros(1, 10))
    60.0
    """
    fast = torch.backends.mha.get_fastpath_enabled()
    with in_eval_mode(classifier), restored_generator(), torch.no_grad():
        try:
            # The fused layer of torch's transformers is one operation, which counts as nothing.
            torch.backends.mha.set_fastpath_enabled(False)
            with _Operations() as operations:
                classifier(image)
        finally:
            torch.backends.mha.set_fastpath_enabled(fast)
    return float(operations.total)


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the floating-point operations of what runs inside the block.

    The counts are those of `torch.utils.flop_counter.FlopCounterMode`, which imports the compiler
    of torch when it is used: 2.5 s that a command without training need not spend.
    """

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # torch would otherwise wrap the method below with the compiler

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if isinstance(func, torch._ops.HigherOrderOperator):
            return NotImplemented
        if func is not torch.ops.prim.device.default:
            with self:  # what an operation consists of is counted in its place
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        result = func(*args, **kwargs)
        count = flop_registry.get(func._overloadpacket)
        if count is not None:
            self.total += count(*args, **kwargs, out_val=result)
        return result
