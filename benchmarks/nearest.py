"""How near out-of-fold matching comes to Retrain, row by row, and what else was tried.

    python benchmarks/nearest.py run --seeds 100 101 102   # resumable: every seed is a file
    python benchmarks/nearest.py run --seeds 600 601 --data noise
    python benchmarks/nearest.py report                    # docs/results/nearest.json and tables

There are three workloads, all small, so that many variants and seeds can be tried: a perceptron
with BatchNorm on CIFAR-10 at 8x8 pixels; with `--workload cnn` the network `cnn` on 1,500
pictures of full size; and with `--workload clusters` the network `mlp` on a table. `--data` takes
harder data in the place of the plain rows (`HARDER`).
docs/results/nearest.md has the results.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import coun
from coun.engine import environment
from coun.files import read_json, write_json

RESULTS = Path(__file__).parents[1] / "docs" / "results" / "nearest.json"
DATA = os.environ.get("COUN_DATA", "data")  # the folder that holds cifar10/
SOURCE, SIDE = f"hf:{DATA}/cifar10", 8
MEASURES = ("average_gap", "row_agreement", "js_to_retrain", "log_odds_correlation")
SHOWN_IN_FLOORS = (("average_gap", 1), ("js_to_retrain", 3))  # and their decimals
# Preparations: folds, repeats, the share of the Original's epochs of each model of a fold.
HALF, CHEAP, GROUPED = "2 x 4 half", "1 x 4 half", "2 x 4 half, customers as groups"
PREPARATIONS = {
    HALF: (4, 2, 1 / 2),
    GROUPED: (4, 2, 1 / 2),
    CHEAP: (4, 1, 1 / 2),
    "3 x 4 short": (4, 3, 1 / 3),
    "1 x 4 full": (4, 1, 1.0),
}
# What `--data` can be, and how many versions of each picture there are.
PLAIN, NOISE, TAIL, COPIES, NEAR, CUSTOMER = (
    "plain", "noise", "tail", "copies", "near-copies", "customer",
)  # fmt: skip
HARDER = {
    NOISE: "20% of the training labels are wrong",
    TAIL: "the most frequent class has 20 times as many rows as the rarest",
    COPIES: "every picture is there twice, and the request names one of the two",
    NEAR: "the same, and the two differ by noise",
    CUSTOMER: "ten customers with 30 pictures each, in four versions that differ by noise; one "
    "customer is forgotten",
}
VERSIONS = {COPIES: 2, NEAR: 2, CUSTOMER: 4}
CUSTOMERS, SPECKLES, TAIL_RATIO = 10, 6, 20
ON_HARDER_DATA = (
    "FT", "NegGrad+ few", "CoUn", "matching", "matching, longer", "held-out, longer",
)  # fmt: skip


class Workload(NamedTuple):
    """Data, a network and the recipe of its training.

    Args:
        epochs: for methods that cost about 0.15, 0.25 and 0.3 of a Retrain.
        quick: whether rows that cost many Retrains are run as well.
    """

    rows: int
    test_rows: int
    recipe: dict[str, Any]
    options: coun.Options
    epochs: tuple[int, int, int]
    quick: bool = False


def _options(precision: Literal["fp32", "bf16"]) -> coun.Options:
    return coun.Options(device="cpu", precision=precision, keep_freed_memory=True)


WORKLOADS = {
    "perceptron": Workload(
        1200, 1200, {"epochs": 24, "batch_size": 100, "lr": 0.1}, _options("fp32"), (3, 5, 7), True
    ),
    "cnn": Workload(
        1500, 3000, {"epochs": 40, "batch_size": 64, "lr": 0.1}, _options("bf16"), (5, 8, 12)
    ),
    "clusters": Workload(
        1600, 800, {"epochs": 30, "batch_size": 64, "lr": 0.1}, _options("fp32"), (4, 7, 9)
    ),
}


def tried(
    workload: Workload, variant: str = PLAIN
) -> list[tuple[str, str | None, str, dict[str, Any]]]:
    """What is compared: label, preparation, method, settings."""
    few, some, many = workload.epochs
    still = {"correction": 0.0}
    rates = {
        epochs: {"lr": 0.05} if epochs * workload.rows < 50 * workload.recipe["batch_size"] else {}
        for epochs in (few, some)
    }
    old = {"original_share": 0.0, "retain_weight": 0.0, **still}
    push = {"epochs": few, "forget_batch_size": workload.recipe["batch_size"] // 4}
    rows: list[tuple[str, str | None, str, dict[str, Any]]] = [
        ("FT", None, "finetune", {"epochs": many}),
        ("NegGrad+ few", None, "neggrad_plus", {**push, "alpha": 0.85, "lr": 0.04}),
        ("NegGrad+ few, strong", None, "neggrad_plus", {**push, "alpha": 0.6, "lr": 0.05}),
        ("AMUN", None, "amun", {"epochs": few, "lr": 0.02, "own_labels": False}),
        ("CoUn", None, "coun", {"epochs": few + 1, "lr": 0.1, "temperature": 0.25}),
        ("matching", HALF, "out_of_fold", {"epochs": few}),
        ("matching, longer", HALF, "out_of_fold", {"epochs": some}),
        ("matching, shorter", HALF, "out_of_fold", {"epochs": few - 1}),
        ("matching, longest", HALF, "out_of_fold", {"epochs": many}),
        ("matching, targets not moved", HALF, "out_of_fold", {"epochs": few, **still}),
        ("matching, longer, targets not moved", HALF, "out_of_fold", {"epochs": some, **still}),
        ("matching as in the first form", HALF, "out_of_fold", {"epochs": few, **old}),
        ("matching, folds only", HALF, "out_of_fold", {"epochs": few, "original_share": 0.0}),
        ("matching, labels only for retain rows", HALF, "out_of_fold",
         {"epochs": few, "retain_weight": 0.0}),
        ("matching, 1 x 4 half", CHEAP, "out_of_fold", {"epochs": few}),
        ("calibrated matching", HALF, "calibrated_out_of_fold", {"epochs": few}),
        ("calibrated matching, longer", HALF, "calibrated_out_of_fold", {"epochs": some}),
        ("held-out, nothing prepared", None, "held_out", {"epochs": few, **rates[few]}),
        ("held-out, longer", None, "held_out", {"epochs": some, **rates[some]}),
        ("held-out, longer, targets not moved", None, "held_out",
         {"epochs": some, "lr": 0.05, **still}),
        ("oracle, 1 Retrain", None, "oracle", {"epochs": few}),
    ]  # fmt: skip
    if workload.quick:
        rows += [
            ("matching, 3 x 4 short", "3 x 4 short", "out_of_fold", {"epochs": few}),
            ("matching, 1 x 4 full", "1 x 4 full", "out_of_fold", {"epochs": few}),
            ("oracle, 3 Retrains", None, "oracle", {"epochs": few, "oracles": 3}),
        ]
    if variant != PLAIN:
        rows = [row for row in rows if row[0] in ON_HARDER_DATA]
    if variant == CUSTOMER:
        rows.append(("matching, customers as groups", GROUPED, "out_of_fold", {"epochs": few}))
    return rows


def data(workload: str, variant: str = PLAIN) -> coun.Data:
    """CIFAR-10 without augmentation, for the perceptron averaged over 4x4 pixels; or a table."""
    if workload == "clusters":
        return clusters(WORKLOADS[workload].rows, WORKLOADS[workload].test_rows)
    limit = WORKLOADS[workload].rows * (4 if variant == TAIL else 1)
    whole = coun.load(SOURCE, limit=limit, test_limit=WORKLOADS[workload].test_rows)
    parts = []
    for part in (whole.train, whole.test):
        images = part.fetch(torch.arange(len(part)))
        if workload == "perceptron":
            images = F.adaptive_avg_pool2d(images.float(), SIDE).round().to(torch.uint8)
        parts += [images, part.labels]
    made = coun.from_arrays(*harder(variant, *parts[:2]), *parts[2:])
    return replace(made, views=replace(made.views, letters="N"))  # type: ignore[type-var]


def clusters(rows: int, test_rows: int) -> coun.Data:
    """A table with 20 columns and 8 classes, each of three Gaussian clusters that overlap."""
    draw = np.random.default_rng(1)
    centres = draw.normal(size=(8, 3, 20))
    labels, cluster = draw.integers(0, (8, 3), (rows + test_rows, 2)).T
    values = centres[labels, cluster] + 0.9 * draw.normal(size=(rows + test_rows, 20))
    values = values.astype(np.float32)
    return coun.from_arrays(values[:rows], labels[:rows], values[rows:], labels[rows:])


def harder(variant: str, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Change training images (N, C, H, W) uint8 and labels (N,) as `HARDER` says."""
    draw = torch.Generator().manual_seed(0)
    if variant == NOISE:
        wrong = torch.randperm(len(labels), generator=draw)[: len(labels) // 5]
        labels = labels.clone()
        labels[wrong] = (labels[wrong] + torch.randint(1, 10, wrong.shape, generator=draw)) % 10
    if variant == TAIL:
        largest = int(labels.bincount().min()) * 3 // 4
        sizes = [round(largest * TAIL_RATIO ** (-label / 9)) for label in range(10)]
        rows = [(labels == label).nonzero()[:size, 0] for label, size in enumerate(sizes)]
        images, labels = images[torch.cat(rows)], labels[torch.cat(rows)]
    if versions := VERSIONS.get(variant):
        pictures = len(labels) // versions
        images, labels = (
            part[:pictures].repeat_interleave(versions, 0) for part in (images, labels)
        )
        if variant != COPIES:
            speckle = torch.randint(-SPECKLES, SPECKLES + 1, images.shape, generator=draw)
            images = (images.long() + speckle).clamp(0, 255).to(torch.uint8)
    return images, labels


def request(variant: str, rows: coun.Data, seed: int) -> coun.Split:
    """A random 10%; of copies one of two; or all rows of one customer."""
    count, draw = len(rows.train), torch.Generator().manual_seed(seed)
    if variant in (COPIES, NEAR):
        pictures = torch.randperm(count // 2, generator=draw)[: count // 10]
        return coun.Split.by_index(rows, 2 * pictures)
    if variant == CUSTOMER:
        size = count // CUSTOMERS
        return coun.Split.by_index(rows, torch.arange(size) + seed % CUSTOMERS * size)
    return coun.Split.random(rows, 0.1, seed=seed)


def perceptron() -> nn.Module:
    """A perceptron with two hidden layers and BatchNorm."""
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs in (3 * SIDE**2, 256):
        layers += [nn.Linear(inputs, 256), nn.BatchNorm1d(256), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(256, 10))


def folder_of(folder: Path, workload: str, variant: str) -> Path:
    """Where the results of one workload and its data are."""
    return folder / (workload if variant == PLAIN else f"{workload}-{variant}")


def one_seed(
    workload: str, variant: str, seed: int, folder: Path, only: Sequence[str] = ()
) -> None:
    """Original, three Retrains, and what is not computed yet of `tried`, for one seed.

    Args: only: labels of `tried`; by default all.
    """
    place = folder_of(folder, workload, variant)
    path = place / f"{seed}.json"
    results: dict[str, Any] = {"workload": workload, "data": variant, "seed": seed}
    results |= {"preparation": {}, "rows": {}}
    if path.exists():
        results = read_json(path)
    missing = [row for row in tried(WORKLOADS[workload], variant) if row[0] not in results["rows"]]
    missing = [row for row in missing if not only or row[0] in only]
    if not missing:
        return
    recipe, options = WORKLOADS[workload].recipe, WORKLOADS[workload].options
    rows = data(workload, variant)
    network = {"perceptron": perceptron, "cnn": "cnn", "clusters": "mlp"}[workload]
    split = request(variant, rows, seed)
    kept: Path = place / f"{seed}"  # finished models, so that a killed run continues
    customers = {name: str(i * CUSTOMERS // len(rows.ids)) for i, name in enumerate(rows.ids)}
    original = coun.train(
        rows, network, seed=seed, options=options, out=kept / "original", **recipe
    )
    retrains = [
        coun.train(
            rows,
            network,
            split=split,
            seed=seed + 1000 * k,
            options=options,
            out=kept / f"retrain-{k}",
            **recipe,
        )
        for k in (1, 2, 3)
    ]
    retrain_flops = fmean(run.record.cost.flops for run in retrains)
    prepared: dict[str | None, coun.Run] = {None: original}
    for name, (folds, repeats, share) in PREPARATIONS.items():
        if name in {preparation for _, preparation, _, _ in missing}:
            epochs = round(share * recipe["epochs"])
            run = coun.prepare(
                replace(original, folder=None),
                folds=folds,
                repeats=repeats,
                epochs=epochs,
                groups=customers if name == GROUPED else None,
                seed=seed,
                options=options,
            )
            prepared[name] = run
            assert run.record.out_of_fold is not None
            results["preparation"][name] = run.record.out_of_fold.cost.flops / retrain_flops
    for label, preparation, method, settings in missing:
        run = coun.unlearn(
            prepared[preparation], split, method, seed=seed, options=options, **settings
        )
        results["rows"][label], floor = compared(run, retrains)
        if not len(run.split.held_out):  # else it is the floor on half of the test rows
            results["floor"] = floor
        results["environment"] = environment()
        write_json(path, results)
    print(f"{workload}, {variant}, seed {seed}: done", flush=True)


def compared(run: coun.Run, retrains: Sequence[coun.Run]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is recorded of an unlearned run, and the floor: how far the Retrains are apart."""
    measured = coun.evaluate(run, against=retrains)
    row = {
        **{name: measured[name] for name in MEASURES},
        "gap": measured["gap"],
        "cost": run.record.cost.flops / fmean(r.record.cost.flops for r in retrains),
    }
    return row, {name: measured["floor"][name] for name in MEASURES}


def report(folder: Path) -> None:
    """Write the results of all seeds, and print their means as a table for each workload."""
    everything = []
    for workload, variant in product(WORKLOADS, (PLAIN, *HARDER)):
        place = folder_of(folder, workload, variant)
        seeds = [read_json(path) for path in sorted(place.glob("*.json"))]
        if not seeds:
            continue
        everything += seeds
        numbers = ", ".join(str(s["seed"]) for s in seeds)
        print(f"\n{workload}, {variant}, seeds {numbers}\n")
        print("| | seeds | cost | gap (floors) | row agreement | JS (floors) | correlation |")
        print("|---|---:|---:|---:|---:|---:|---:|")
        floors = {name: [s["floor"][name] for s in seeds] for name in MEASURES}
        print(_line("floor", {**floors, "cost": [1.0] * len(seeds)}, floors))
        for label in dict.fromkeys(label for s in seeds for label in s["rows"]):
            measured = [s for s in seeds if label in s["rows"]]
            floors = {name: [s["floor"][name] for s in measured] for name in MEASURES}
            values = {
                name: [s["rows"][label][name] for s in measured] for name in (*MEASURES, "cost")
            }
            print(_line(label, values, floors))
        print()
        for name in PREPARATIONS:
            if shares := [s["preparation"][name] for s in seeds if name in s["preparation"]]:
                print(f"preparation {name}: {fmean(shares):.1f} Retrains")
    write_json(RESULTS, everything)


def _line(label: str, values: dict[str, list[float]], floors: dict[str, list[float]]) -> str:
    """One row of the table: means, and the standard deviations of gap and agreement over seeds."""
    mean = {name: fmean(numbers) for name, numbers in values.items()}
    spread = {name: stdev(numbers) if len(numbers) > 1 else 0.0 for name, numbers in values.items()}
    gap, js = (
        f"{mean[m]:.{d}f}" + (f"±{spread[m]:.{d}f}" if d == 1 else "")
        + f" ({mean[m] / fmean(floors[m]):.1f})"
        for m, d in SHOWN_IN_FLOORS
    )  # fmt: skip
    return (
        f"| {label} | {len(values['cost'])} | {mean['cost']:.2f} | {gap} | "
        f"{mean['row_agreement']:.1f}±{spread['row_agreement']:.1f} | {js} | "
        f"{mean['log_odds_correlation']:.2f} |"
    )


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["run", "report"])
    parser.add_argument("--workload", choices=list(WORKLOADS), default="perceptron")
    parser.add_argument("--data", choices=[PLAIN, *HARDER], default=PLAIN)
    parser.add_argument("--seeds", type=int, nargs="+", default=[100, 101, 102])
    parser.add_argument("--only", nargs="+", default=[], help="labels of rows")
    parser.add_argument("--folder", type=Path, default=Path("runs/nearest"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.what == "run":
        for seed in given.seeds:
            one_seed(given.workload, given.data, seed, given.folder, given.only)
    else:
        report(given.folder)


if __name__ == "__main__":
    main()
