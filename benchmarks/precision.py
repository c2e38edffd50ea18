"""Compare bf16 with fp32, and CoUn's fast mode with CoUn, by their distance to Retrain.

The whole pipeline runs on five seeds of a CIFAR-10 subset in each precision;
docs/results/precision.md has the tables.

    python benchmarks/precision.py run     # resumable: every run is a folder
    python benchmarks/precision.py report  # the tables, from what is there
"""

from __future__ import annotations

import argparse
import os
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from joblib import Parallel, delayed
from scipy.stats import t, ttest_1samp

import coun
from coun.engine import environment
from coun.files import read_json, write_json, write_text
from coun.metrics import average_gap

DATA = os.environ.get("COUN_DATA", "data")  # the folder that holds cifar10/
MODEL, EPOCHS, UNLEARN_EPOCHS = "resnet8", 30, 6
SEEDS = range(5)
RESULTS = Path(__file__).parents[1] / "docs" / "results"
COUN = {"lr": 0.1, "weight": 0.5, "temperature": 0.3}
RETRAINS = ("Retrain", "Retrain-again")
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "FT": ("finetune", {"lr": 0.1}),
    "CoUn": ("coun", COUN),
    "CoUn fast": ("coun", {**COUN, "second_view_gradient": False}),
}


def chain(root: Path, precision: Any, seed: int) -> None:
    """Original, Retrain and every method of one seed in one precision."""
    torch.set_num_threads(1)
    options = coun.Options(precision=precision)
    data = coun.load(f"hf:{DATA}/cifar10", limit=1000, test_limit=2000)
    split = coun.Split.random(data, 0.1, seed=seed)
    folder = root / precision / str(seed)
    common: dict[str, Any] = {"seed": seed, "options": options}
    original = coun.train(data, MODEL, epochs=EPOCHS, out=folder / "Original", **common)
    runs = [
        coun.train(
            data, MODEL, epochs=EPOCHS, split=split, out=folder / label, seed=start, options=options
        )
        for label, start in zip(RETRAINS, (seed, seed + 1000), strict=True)
    ]
    for label, (method, settings) in METHODS.items():
        out = folder / label.replace(" ", "-")
        runs.append(
            coun.unlearn(
                original, split, method, out=out, epochs=UNLEARN_EPOCHS, **common, **settings
            )
        )
    for run in (original, *runs):
        if run.folder and not (run.folder / "metrics.json").exists():
            coun.evaluate(run, split=split)


def gaps(root: Path, precision: str, label: str) -> list[float]:
    """The average gap of *label* to the two Retrains of its seed and precision, their mean."""
    computed = []
    for folder in (root / precision / str(seed) for seed in SEEDS):
        metrics = read_json(folder / label.replace(" ", "-") / "metrics.json")
        retrains = [read_json(folder / name / "metrics.json") for name in RETRAINS]
        computed.append(mean(average_gap(metrics, retrain) for retrain in retrains))
    return computed


def difference(a: list[float], b: list[float]) -> dict[str, float]:
    """Mean of the paired differences a - b, its 95% half-width and p."""
    pairs = [x - y for x, y in zip(a, b, strict=True)]
    half = float(t.ppf(0.975, len(pairs) - 1)) * stdev(pairs) / len(pairs) ** 0.5
    return {"mean": mean(pairs), "half": half, "p": float(ttest_1samp(pairs, 0).pvalue)}


def report(root: Path) -> None:
    """Write precision.json, and its tables into the marked place of precision.md."""
    labels = ["Original", *METHODS]
    computed = {p: {k: gaps(root, p, k) for k in labels} for p in ("bf16", "fp32")}
    against = {k: difference(computed["bf16"][k], computed["fp32"][k]) for k in labels}
    fast = {p: difference(computed[p]["CoUn fast"], computed[p]["CoUn"]) for p in computed}
    lines = [
        "| average gap to Retrain | bf16 | fp32 | bf16 - fp32 (95% interval) | p |",
        "|-|-|-|-|-|",
    ]
    for k in labels:
        cells = [
            f"{mean(computed[p][k]):.2f} ± {stdev(computed[p][k]):.2f}" for p in ("bf16", "fp32")
        ]
        d = against[k]
        spread = f"{d['mean']:+.2f} ± {d['half']:.2f}"
        lines.append(f"| {k} | {cells[0]} | {cells[1]} | {spread} | {d['p']:.3f} |")
    lines += [
        "",
        "| fast mode minus full mode | difference of the gaps (95% interval) | p |",
        "|-|-|-|",
    ]
    lines += [
        f"| {p} | {d['mean']:+.2f} ± {d['half']:.2f} | {d['p']:.3f} |" for p, d in fast.items()
    ]
    record = {
        "command": "python benchmarks/precision.py run",
        "environment": environment(),
        "seeds": list(SEEDS),
        "gaps": computed,
        "bf16_minus_fp32": against,
        "fast_minus_faithful": fast,
    }
    write_json(RESULTS / "precision.json", record)
    page = (RESULTS / "precision.md").read_text(encoding="utf-8")
    before, rest = page.split("<!-- tables -->\n")
    after = rest.split("<!-- /tables -->")[1]
    text = before + "<!-- tables -->\n" + "\n".join(lines) + "\n<!-- /tables -->" + after
    write_text(RESULTS / "precision.md", text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("phase", choices=["run", "report"])
    parser.add_argument("--out", type=Path, default=Path("runs/precision"))
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    if args.phase == "run":
        jobs = [(args.out, p, s) for s, p in product(SEEDS, ("bf16", "fp32"))]
        Parallel(n_jobs=args.workers, verbose=10)(delayed(chain)(*job) for job in jobs)
    report(args.out)


if __name__ == "__main__":
    main()
