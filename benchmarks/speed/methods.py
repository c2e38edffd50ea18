"""coun_over_ft: what CoUn's epochs cost over fine-tuning's, done in full and in its fast mode.

    python benchmarks/speed/methods.py [--models resnet8,cnn] [--batch 256] [--rounds 5]

Full: both views are trained, 6 forwards' worth of work a batch where FT does 3. Fast:
second_view_gradient=false, 4 forwards' worth. What the fast mode does to the gap is in
docs/results/precision.md.
"""

from __future__ import annotations

import argparse
from statistics import median
from typing import Any

import measure
from measure import Trainer


def study(model: str, batch: int, rounds: int, updates: int) -> dict[str, Any]:
    """Seconds an epoch over fine-tuning's, for one network."""
    images = batch * updates
    trainer = Trainer(measure.synthetic(images), model)

    def epoch(method: str, **settings: Any) -> int:
        trainer.phase(method, batch, **settings)
        return images

    jobs = {
        "finetune": lambda: epoch("finetune"),
        "coun": lambda: epoch("coun"),
        "coun fast": lambda: epoch("coun", second_view_gradient=False),
    }
    rates = measure.turns(jobs, rounds)
    computed: dict[str, Any] = {"rounds": rounds, "batch": batch}
    for name in ("coun", "coun fast"):
        each = [a / b for a, b in zip(rates["finetune"], rates[name], strict=True)]
        computed[name] = {
            "over_ft": round(median(each), 3),
            "lowest": round(min(each), 3),
            "highest": round(max(each), 3),
        }
    return computed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default="resnet8,cnn")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    computed = {m: study(m, args.batch, args.rounds, 8) for m in args.models.split(",")}
    print(computed)
    measure.record("coun_over_ft", computed)


if __name__ == "__main__":
    main()
