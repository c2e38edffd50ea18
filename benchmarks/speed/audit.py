"""An audit of 50,000 training and 10,000 test images on this machine: seconds and memory.

Seconds are those of the processor (user and system time of the process), because others may use
the machine; the seconds of the clock stand beside them.

    python benchmarks/speed/audit.py

Synthetic images in ten classes, `cnn`, 5,000 rows forgotten, one Retrain and the Original to
compare with; the three nets had two epochs on 3,000 of the images, as only their forwards count.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import measure
import torch

import coun
from coun.engine.device import keep_freed_memory
from coun.report import write_audit
from coun.runs import predictions

T = TypeVar("T")


def images(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise on one pattern a class."""
    patterns = torch.rand((10, 3, 32, 32), generator=torch.Generator().manual_seed(1)) * 90
    noise = torch.rand((count, 3, 32, 32), generator=torch.Generator().manual_seed(seed)) * 160
    labels = torch.arange(count) % 10
    return (patterns[labels] + noise).to(torch.uint8), labels


def timed(work: Callable[[], T]) -> tuple[float, float, T]:
    """Processor seconds and clock seconds of *work*, and what it returns."""
    start, clock = time.process_time(), time.perf_counter()
    result = work()
    return time.process_time() - start, time.perf_counter() - clock, result


def main() -> None:
    keep_freed_memory()  # as `coun audit` does
    data = coun.from_arrays(*images(50_000, 2), *images(10_000, 3))
    split = coun.Split.random(data, 0.1, seed=0)
    few = coun.from_arrays(*images(3000, 4), *images(500, 5))
    part = coun.Split.random(few, 0.1, seed=0)
    original, exact, unlearned = (
        replace(coun.train(few, "cnn", split=s, seed=seed, epochs=2), data=data, split=whole)
        for seed, (s, whole) in enumerate([(None, None), (part, split), (part, split)])
    )
    _ = data.fingerprint  # known from a run's folder, as a rule
    forwards, _, _ = timed(lambda: predictions(original.classifier, data, split))
    seconds, clock, result = timed(lambda: coun.audit.audit(unlearned, [exact], original=original))
    with tempfile.TemporaryDirectory() as folder:
        page, _, _ = timed(lambda: write_audit(result, folder))
    unit = 2**30 if sys.platform == "darwin" else 2**20
    record = {
        "audit_seconds": round(seconds, 1),
        "audit_clock_seconds": round(clock, 1),
        "of_which_one_models_forwards": round(forwards, 1),
        "page_seconds": round(page, 1),
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 2),
    }
    print(record)
    measure.record("audit", record)


if __name__ == "__main__":
    main()
