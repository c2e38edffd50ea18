"""How far `auto` is from the best method, where the best is chosen with the answer in view.

    # resumable: every seed is a file
    python benchmarks/auto.py run --scenarios class subclass --seeds 615 616 617 618 619
    python benchmarks/auto.py report   # docs/results/auto.json and tables

The workloads are the perceptron of nearest.py and 500 handwritten digits with the network `cnn`.
Each method has the cost that `auto` may have, 0.3 of a Retrain, or less. docs/results/nearest.md
has the results.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import nearest
import torch

import coun
from coun.data.requests import Subclass
from coun.engine import environment
from coun.files import read_json, write_json
from coun.methods import find

RESULTS = Path(__file__).parents[1] / "docs" / "results" / "auto.json"
PREPARED, BARE = "auto, prepared", "auto, nothing prepared"
CLUSTER = 0.05  # share of the rows that one customer has, who are similar to each other
SHOWN = nearest.MEASURES[:3]
ROWS = ("random", "customer")  # scenarios of single rows
SCENARIOS = (*ROWS, "class", "subclass")


class Workload(NamedTuple):
    """Data, network and recipe, and the requests that are tried."""

    network: Any
    recipe: dict[str, Any]
    scenarios: tuple[str, ...]


WORKLOADS = {
    "perceptron": Workload(
        nearest.perceptron, nearest.WORKLOADS["perceptron"].recipe, ("random", "customer", "class")
    ),
    "digits": Workload(
        "cnn",
        {"epochs": 20, "batch_size": 64, "lr": 0.1},
        SCENARIOS,
    ),
}
OPTIONS = nearest.WORKLOADS["perceptron"].options


def tried(recipe: dict[str, Any], scenario: str) -> dict[str, tuple[str, dict[str, Any]]]:
    """What `auto` is compared with, at a cost of up to 0.3 of a Retrain: method and settings."""
    few, some, many = (max(1, round(share * recipe["epochs"])) for share in (0.12, 0.22, 0.3))
    quarter = recipe["batch_size"] // 4
    small = {"epochs": some, "forget_batch_size": quarter // 2, "alpha": 0.9, "lr": 0.03}
    trw = {"epochs": some, "forget_batch_size": quarter, "lr": 0.02, "schedule": "cosine"}
    always = {
        "NegGrad+ small batches": ("neggrad_plus", small),
        "CoUn": ("coun", {"epochs": many // 2, "lr": 0.1, "temperature": 0.25}),
        "NoT": ("not", {"epochs": many, "lr": 0.05}),
    }
    of_rows = {
        "held-out": ("held_out", {"epochs": few, "lr": 0.05}),
        "held-out, longer": ("held_out", {"epochs": some, "lr": 0.05}),
        "matching": ("out_of_fold", {"epochs": few}),
        "matching, longer": ("out_of_fold", {"epochs": some}),
        "calibrated": ("calibrated_out_of_fold", {"epochs": few}),
        "calibrated, longer": ("calibrated_out_of_fold", {"epochs": some}),
    }
    of_classes: dict[str, tuple[str, dict[str, Any]]] = {
        "DELETE": ("delete", {}),
        "TRW": ("trw", trw),
        "class matching": ("class_matching", {"epochs": few}),
        "class matching, longer": ("class_matching", {"epochs": some}),
    }
    return {**always, **(of_rows if scenario in ROWS else of_classes)}


def data(workload: str, scenario: str) -> coun.Data:
    """The rows; for a subclass every class consists of two digits."""
    if workload == "perceptron":
        return nearest.data(workload)
    rows = coun.load("digits", limit=500)
    if scenario != "subclass":
        return rows
    merged = [replace(part, labels=part.labels // 2) for part in (rows.train, rows.test)]
    names = ("01", "23", "45", "67", "89")
    return replace(rows, train=merged[0], test=merged[1], classes=names, finer=lambda: rows)


def request(scenario: str, rows: coun.Data, seed: int) -> coun.Split:
    """A random 10%, the rows that resemble one row most, a class, or one of the ten digits."""
    if scenario == "random":
        return coun.Split.random(rows, 0.1, seed=seed)
    if scenario == "class":
        return coun.Split.by_class(rows, seed % 10)
    if scenario == "subclass":
        return coun.Split.of(rows, Subclass(name=str(seed % 10)))
    images = rows.train.fetch(torch.arange(len(rows.train))).float().flatten(1)
    draw = torch.Generator().manual_seed(seed)
    middle = int(torch.randint(len(images), (), generator=draw))
    away = (images - images[middle]).norm(dim=1)
    return coun.Split.by_index(
        rows, rows.train.numbers[away.argsort()[: round(CLUSTER * len(images))]]
    )


def one_seed(workload: str, scenario: str, seed: int, folder: Path) -> None:
    """The Original, two Retrains, and what is not computed yet, for one request."""
    place = folder / f"{workload}-{scenario}"
    path = place / f"{seed}.json"
    results: dict[str, Any] = {"workload": workload, "scenario": scenario, "seed": seed, "rows": {}}
    if path.exists():
        results = read_json(path)
    network, recipe, _ = WORKLOADS[workload]
    methods = {**tried(recipe, scenario), PREPARED: ("auto", {}), BARE: ("auto", {})}
    missing = [label for label in methods if label not in results["rows"]]
    if not missing:
        return
    rows = data(workload, scenario)
    split = request(scenario, rows, seed)
    # All requests of one workload start from one Original and its preparation.
    shared = folder / f"{workload}{'-pairs' if scenario == 'subclass' else ''}-{seed}"
    given = {**recipe, "seed": seed, "options": OPTIONS}
    original = coun.train(rows, network, out=shared, **given)
    if original.out_of_fold is None:
        original = coun.prepare(original, seed=seed, options=OPTIONS)
    retrains = [
        coun.train(rows, network, split=split, **{**given, "seed": seed + 1000 * k}) for k in (1, 2)
    ]
    bare = replace(
        original, record=original.record.model_copy(update={"out_of_fold": None}), out_of_fold=None
    )
    for label in missing:
        method, settings = methods[label]
        asked = method != "auto" and find(method).needs_out_of_fold
        start = original if label == PREPARED or asked else bare
        run = coun.unlearn(start, split, method, seed=seed, options=OPTIONS, **settings)
        row, results["floor"] = nearest.compared(run, retrains)
        results["rows"][label] = {**row, "method": run.record.method.name}
    results["environment"] = environment()
    write_json(path, results)
    print(f"{workload}, {scenario}, seed {seed}: done", flush=True)


def report(folder: Path) -> None:
    """Write the results of all seeds, and print for each scenario the gap of every method."""
    everything = []
    for workload, (_, recipe, scenarios) in WORKLOADS.items():
        for scenario in scenarios:
            paths = sorted((folder / f"{workload}-{scenario}").glob("*.json"))
            seeds = [read_json(path) for path in paths]
            if not seeds:
                continue
            everything += seeds
            floor = fmean(s["floor"]["average_gap"] for s in seeds)
            print(f"\n{workload}, {scenario}, seeds {', '.join(str(s['seed']) for s in seeds)}")
            print(f"floor {floor:.1f}")
            gaps = {}
            for label in (*tried(recipe, scenario), PREPARED, BARE):
                rows = [s["rows"][label] for s in seeds]
                gap, agreement, js = (fmean(row[name] for row in rows) for name in SHOWN)
                gaps[label] = gap
                cost = fmean(row["cost"] for row in rows)
                names = ", ".join(sorted({row["method"] for row in rows}))
                print(f"| {label} | {cost:.2f} | {gap:.1f} | {agreement:.1f} | {js:.3f} | {names}")
            for auto in (PREPARED, BARE):
                others = [
                    (gap, label)
                    for label, gap in gaps.items()
                    if label not in (PREPARED, BARE)
                    and not (auto == BARE and label.startswith(("matching", "calibrated")))
                ]
                best, label = min(others)
                print(f"{auto}: {gaps[auto] - best:+.1f} from {label} ({best:.1f})")
    write_json(RESULTS, everything)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["run", "report"])
    parser.add_argument("--workloads", nargs="+", choices=list(WORKLOADS), default=list(WORKLOADS))
    parser.add_argument("--scenarios", nargs="+", choices=SCENARIOS, default=SCENARIOS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[300, 301, 302])
    parser.add_argument("--folder", type=Path, default=Path("runs/auto"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.what == "report":
        report(given.folder)
        return
    for seed in given.seeds:
        for workload in given.workloads:
            for scenario in WORKLOADS[workload].scenarios:
                if scenario in given.scenarios:
                    one_seed(workload, scenario, seed, given.folder)


if __name__ == "__main__":
    main()
