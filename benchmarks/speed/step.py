"""step_over_bare: CoUn's steps by the engine against the bare forward and backward.

    python benchmarks/speed/step.py [--models resnet8,cnn] [--batches 256,512] [--rounds 5]

Ours: two views drawn and forwarded, both losses, backward, SGD, accounting, logging. Bare: the
same network, precision and layout, eager, on one fixed tensor, cross entropy, no optimizer.
Rates count forwarded images. Start-up of compilation is measured apart: what the first sweep
takes beyond a later one, with an empty kernel cache and with a full one, and after how many
images the faster step has paid for the latter.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from typing import Any

import measure
import torch
from measure import Trainer


def study(model: str, batch: int, rounds: int, updates: int) -> dict[str, Any]:
    """The ratios of one network at one batch size."""
    data = measure.synthetic(batch * updates)
    first = []
    for _ in ("cold", "warm"):  # the second finds the first one's kernels on disk
        torch._dynamo.reset()
        eager, compiled = Trainer(data, model), Trainer(data, model, compile=True)
        start = time.perf_counter()
        compiled.phase("coun", batch)
        first.append(time.perf_counter() - start)
    jobs = {
        "bare": lambda: measure.bare(eager, batch, 2 * updates),
        "eager": lambda: eager.phase("coun", batch),
        "compiled": lambda: compiled.phase("coun", batch),
    }
    rates = measure.turns(jobs, rounds)
    computed = {k: measure.ratio(rates, k, "bare") for k in ("eager", "compiled")}
    slow, fast = (computed[k]["images_per_second"][k] for k in ("eager", "compiled"))
    cold, warm = (seconds - 2 * batch * updates / fast for seconds in first)
    gain = 1 / slow - 1 / fast
    computed["compiled"] |= {
        "startup_seconds": {"cold": round(cold, 1), "warm": round(warm, 1)},
        "pays_after_images": round(warm / gain) if gain > 0 else None,
    }
    return computed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default="resnet8,cnn")
    parser.add_argument("--batches", default="256,512")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--updates", type=int, default=8)
    args = parser.parse_args()
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = tempfile.mkdtemp()  # no kernels of earlier days
    computed: dict[str, Any] = {}
    for model in args.models.split(","):
        for batch in map(int, args.batches.split(",")):
            computed.setdefault(model, {})[str(batch)] = study(
                model, batch, args.rounds, args.updates
            )
            print(model, batch, computed[model][str(batch)], flush=True)
    measure.record("step_over_bare", computed)


if __name__ == "__main__":
    main()
