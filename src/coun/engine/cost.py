"""What a run cost: arithmetic, samples, seconds, memory."""

from __future__ import annotations

import resource
import sys
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode


@dataclass
class Cost:
    """Counted as the run goes; survives a resume.

    `flops` charges what was executed: a forward is 1, a backward 2. The paper charges CoUn's
    second view its forward only; here both views are charged in full when both are trained.
    """

    steps: int = 0
    samples_seen: int = 0
    forward_images: int = 0
    trained_images: int = 0
    flops: float = 0.0
    seconds: float = 0.0
    peak_memory_mib: float = 0.0

    def count(self, images: int, flops_per_image: float, *, grad: bool) -> None:
        """Charge one forward of *images*, and its backward if it keeps a graph."""
        self.forward_images += images
        self.trained_images += images * grad
        self.flops += images * flops_per_image * (3 if grad else 1)

    def __add__(self, other: Cost) -> Cost:
        both = {name: value + getattr(other, name) for name, value in asdict(self).items()}
        return Cost(**{**both, "peak_memory_mib": max(self.peak_memory_mib, other.peak_memory_mib)})

    def note_memory(self, device: torch.device) -> None:
        """Keep the highest memory seen: the device's on a GPU, the process's on a CPU."""
        if device.type == "cuda":
            peak = torch.cuda.max_memory_allocated(device) / 2**20
        else:
            unit = 2**20 if sys.platform == "darwin" else 2**10
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
        self.peak_memory_mib = max(self.peak_memory_mib, round(peak, 1))

    def set(self, values: dict[str, Any]) -> None:
        """Take the values that `to_json` gave."""
        for name, value in values.items():
            setattr(self, name, value)

    def to_json(self) -> dict[str, float]:
        return asdict(self)


def forward_flops(classifier: nn.Module, image: Tensor) -> float:
    """Floating-point operations of one forward of one *image* (1, ...), convolutions and
    matrix products only, as torch counts them (a multiply-add is 2)."""
    was_training = {m: m.training for m in classifier.modules()}
    classifier.eval()
    try:
        with torch.random.fork_rng(), torch.no_grad(), FlopCounterMode(display=False) as counter:
            classifier(image)
    finally:
        for module, mode in was_training.items():
            module.training = mode
    return float(counter.get_total_flops())
