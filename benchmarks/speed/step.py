"""step_over_bare: CoUn's steps by the engine against the bare forward and backward.

    python benchmarks/speed/step.py [--models resnet8,cnn] [--batches 256,512] [--rounds 5]

Ours: two views drawn and forwarded, both losses, backward, SGD, accounting, logging. Bare: the
same network, precision and layout, eager, on one fixed tensor, cross entropy, no optimizer.
Rates count forwarded images. Start-up of compilation is measured apart: the first sweep's time
over a later one's, and after how many images the faster step has paid for it.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import measure
from measure import Trainer


def study(model: str, batch: int, rounds: int, updates: int) -> dict[str, Any]:
    """The ratios of one network at one batch size."""
    data = measure.synthetic(batch * updates)
    eager, compiled = Trainer(data, model), Trainer(data, model, compile=True)
    start = time.perf_counter()
    compiled.sweep("coun", batch)
    first = time.perf_counter() - start
    jobs = {
        "bare": lambda: measure.bare(eager, batch, 2 * updates),
        "eager": lambda: eager.sweep("coun", batch),
        "compiled": lambda: compiled.sweep("coun", batch),
    }
    rates = measure.turns(jobs, rounds)
    found = {k: measure.ratio(rates, k, "bare") for k in ("eager", "compiled")}
    slow, fast = (found[k]["images_per_second"][k] for k in ("eager", "compiled"))
    startup = first - 2 * batch * updates / fast
    gain = 1 / slow - 1 / fast
    found["compiled"] |= {
        "startup_seconds": round(startup, 1),
        "pays_after_images": round(startup / gain) if gain > 0 else None,
    }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default="resnet8,cnn")
    parser.add_argument("--batches", default="256,512")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--updates", type=int, default=8)
    args = parser.parse_args()
    found: dict[str, Any] = {}
    for model in args.models.split(","):
        for batch in map(int, args.batches.split(",")):
            found.setdefault(model, {})[str(batch)] = study(model, batch, args.rounds, args.updates)
            print(model, batch, found[model][str(batch)], flush=True)
    measure.record("step_over_bare", found)


if __name__ == "__main__":
    main()
