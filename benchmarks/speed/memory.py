"""Peak memory: of the contrastive loss, and of training on data that streams.

    python benchmarks/speed/memory.py

Each figure is the highest resident memory of a process of its own, less what the same process
held before the work. Streaming: one epoch of `mlp` over 2,000 to 100,000 images that are
made when they are read.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from typing import Any

import measure
import torch

import coun
from coun.objectives import info_nce_loss

MIB = 2**10  # of the kilobytes that getrusage counts


class Made:
    """A map-style dataset that holds no image."""

    classes = tuple(str(i) for i in range(measure.CLASSES))

    def __init__(self, images: int) -> None:
        self.targets = [i % measure.CLASSES for i in range(images)]

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        generator = torch.Generator().manual_seed(row)
        image = torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8, generator=generator)
        return image, self.targets[row]


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def loss(batch: int, size: int) -> None:
    a, b = (torch.randn(batch, size, requires_grad=True) for _ in range(2))
    info_nce_loss(a[:8], b[:8], temperature=0.1).backward()
    before = peak()
    info_nce_loss(a, b, temperature=0.1).backward()
    print((peak() - before) / MIB)


def stream(images: int) -> None:
    data = coun.from_dataset(Made(images), Made(10), stream=True)
    before = peak()
    coun.train(data, "mlp", epochs=1, batch_size=256)
    print((peak() - before) / MIB)


def alone(what: str, *numbers: int) -> float:
    """MiB that the function *what* printed in a process of its own."""
    command = [sys.executable, __file__, what, *map(str, numbers)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return round(float(done.stdout), 1)


def main() -> None:
    computed: dict[str, Any] = {
        "info_nce_4096x512_mib": alone("loss", 4096, 512),
        "info_nce_1024x512_mib": alone("loss", 1024, 512),
        "streamed_mib": {str(n): alone("stream", n) for n in (2000, 20000, 100000)},
    }
    print(computed)
    measure.record("memory", computed)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        {"loss": loss, "stream": stream}[sys.argv[1]](*map(int, sys.argv[2:]))
    else:
        main()
