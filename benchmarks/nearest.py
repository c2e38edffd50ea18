"""How near out-of-fold matching comes to Retrain, row by row, and what else was tried.

    python benchmarks/nearest.py run --seeds 100 101 102   # resumable: every seed is a file
    python benchmarks/nearest.py report                    # docs/results/nearest.json and tables

The bed is small, so that many variants can be tried: CIFAR-10 at 8x8 pixels, a perceptron with
BatchNorm that fits its rows. docs/results/nearest.md has the results.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

import coun
from coun.engine import environment
from coun.files import read_json, write_json

RESULTS = Path(__file__).parents[1] / "docs" / "results" / "nearest.json"
ROWS, TEST_ROWS, SIDE, EPOCHS = 1200, 1200, 8, 24
RECIPE: dict[str, Any] = {"epochs": EPOCHS, "batch_size": 100, "lr": 0.1}
OPTIONS = coun.Options(device="cpu", precision="fp32", keep_freed_memory=True)
MEASURES = ("average_gap", "row_agreement", "js_to_retrain", "log_odds_correlation")
SHOWN_IN_FLOORS = (("average_gap", 1), ("js_to_retrain", 3))  # and their decimals
# Preparations: folds, repeats, epochs of each model of a fold.
SHORT, SIX = "3 x 4 short", "6 x 4 short"
PREPARATIONS = {
    **{SHORT: (4, 3, 8), "1 x 4 full": (4, 1, 24), "3 x 2 full": (2, 3, 24)},
    SIX: (4, 6, 8),
}
# What is compared: label, preparation, method, settings.
TRIED: list[tuple[str, str | None, str, dict[str, Any]]] = [
    ("FT", None, "finetune", {"epochs": 7}),
    ("NegGrad+ few", None, "neggrad_plus",
     {"epochs": 3, "alpha": 0.85, "lr": 0.04, "forget_batch_size": 25}),
    ("NegGrad+ few, strong", None, "neggrad_plus",
     {"epochs": 3, "alpha": 0.6, "lr": 0.05, "forget_batch_size": 25}),
    ("CoUn", None, "coun", {"epochs": 4, "lr": 0.1, "temperature": 0.25}),
    ("matching", SHORT, "out_of_fold", {"epochs": 3}),
    ("matching, 5 epochs", SHORT, "out_of_fold", {"epochs": 5}),
    ("matching, 2 epochs", SHORT, "out_of_fold", {"epochs": 2}),
    ("matching, weight 0.05", SHORT, "out_of_fold", {"epochs": 3, "weight": 0.05}),
    ("matching, weight 0.2", SHORT, "out_of_fold", {"epochs": 3, "weight": 0.2}),
    ("matching, lr 0.02", SHORT, "out_of_fold", {"epochs": 3, "lr": 0.02}),
    ("matching, 1 x 4 full", "1 x 4 full", "out_of_fold", {"epochs": 3}),
    ("matching, 3 x 2 full", "3 x 2 full", "out_of_fold", {"epochs": 3}),
    ("matching + CL", SHORT, "out_of_fold", {"epochs": 3, "contrast": {"weight": 0.1}}),
    ("matching, 5 epochs, 6 x 4 short", SIX, "out_of_fold", {"epochs": 5}),
    ("held-out, nothing prepared", None, "held_out", {"epochs": 3}),
    ("held-out, 5 epochs", None, "held_out", {"epochs": 5}),
    ("oracle, 1 Retrain, 5 epochs", None, "oracle", {"epochs": 5}),
    ("oracle, 3 Retrains, 5 epochs", None, "oracle", {"epochs": 5, "oracles": 3}),
]  # fmt: skip


def data() -> coun.Data:
    """CIFAR-10, averaged over 4x4 pixels, without augmentation."""
    source = "hf:../shared/data/cifar10"
    whole = coun.load(source, limit=ROWS, test_limit=TEST_ROWS)
    parts = []
    for part in (whole.train, whole.test):
        images = part.fetch(torch.arange(len(part))).float()
        parts += [F.adaptive_avg_pool2d(images, SIDE).round().to(torch.uint8), part.labels]
    made = coun.from_arrays(*parts)
    return replace(made, views=replace(made.views, letters="N"))  # type: ignore[type-var]


def network() -> nn.Module:
    """A perceptron with two hidden layers and BatchNorm."""
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs in (3 * SIDE**2, 256):
        layers += [nn.Linear(inputs, 256), nn.BatchNorm1d(256), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(256, 10))


def one_seed(seed: int, folder: Path) -> None:
    """Original, three Retrains, and what is not computed yet of `TRIED`, for one seed."""
    path = folder / f"{seed}.json"
    results: dict[str, Any] = {"seed": seed, "seconds": 0.0, "preparation": {}, "rows": {}}
    if path.exists():
        results = read_json(path)
    missing = [row for row in TRIED if row[0] not in results["rows"]]
    if not missing:
        return
    began, rows = time.process_time(), data()
    split = coun.Split.random(rows, 0.1, seed=seed)
    original = coun.train(rows, network, seed=seed, options=OPTIONS, **RECIPE)
    retrains = [
        coun.train(rows, network, split=split, seed=seed + 1000 * k, options=OPTIONS, **RECIPE)
        for k in (1, 2, 3)
    ]
    retrain_flops = fmean(run.record.cost.flops for run in retrains)
    prepared: dict[str | None, coun.Run] = {None: original}
    needed = {preparation for _, preparation, _, _ in missing}
    for name, (folds, repeats, epochs) in PREPARATIONS.items():
        if name not in needed:
            continue
        run = coun.prepare(
            original, folds=folds, repeats=repeats, epochs=epochs, seed=seed, options=OPTIONS
        )
        prepared[name] = run
        assert run.record.out_of_fold is not None
        results["preparation"][name] = run.record.out_of_fold.cost.flops / retrain_flops
    for label, preparation, method, settings in missing:
        run = coun.unlearn(
            prepared[preparation], split, method, seed=seed, options=OPTIONS, **settings
        )
        measured = coun.evaluate(run, against=retrains)
        results["rows"][label] = {
            **{name: measured[name] for name in MEASURES},
            "gap": measured["gap"],
            "cost": run.record.cost.flops / retrain_flops,
        }
        results["floor"] = {name: measured["floor"][name] for name in MEASURES}
    results["seconds"] += time.process_time() - began
    results["environment"] = environment()
    write_json(path, results)
    print(f"seed {seed}: {results['seconds']:.0f} s", flush=True)


def report(folder: Path) -> None:
    """Write the results of all seeds, and print their means as a table."""
    seeds = [read_json(path) for path in sorted(folder.glob("*.json"))]
    write_json(RESULTS, seeds)
    print("| | seeds | cost | gap (floors) | row agreement | JS (floors) | correlation |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for label in ("floor", *(row[0] for row in TRIED)):
        done = [s for s in seeds if label == "floor" or label in s["rows"]]
        if not done:
            continue
        floor = {name: fmean(s["floor"][name] for s in done) for name in MEASURES}
        rows = [{**s["floor"], "cost": 1.0} if label == "floor" else s["rows"][label] for s in done]
        mean = {name: fmean(row[name] for row in rows) for name in (*MEASURES, "cost")}
        gap, js = (f"{mean[m]:.{d}f} ({mean[m] / floor[m]:.1f})" for m, d in SHOWN_IN_FLOORS)
        print(
            f"| {label} | {len(done)} | {mean['cost']:.2f} | {gap} | {mean['row_agreement']:.1f} | "
            f"{js} | {mean['log_odds_correlation']:.2f} |"
        )
    for name in PREPARATIONS:
        shares = [s["preparation"][name] for s in seeds if name in s["preparation"]]
        if shares:
            print(f"preparation {name}: {fmean(shares):.1f} Retrains")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["run", "report"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[100, 101, 102])
    parser.add_argument("--folder", type=Path, default=Path("runs/nearest"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.what == "run":
        for seed in given.seeds:
            one_seed(seed, given.folder)
    else:
        report(given.folder)


if __name__ == "__main__":
    main()
