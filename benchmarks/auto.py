"""How far `auto` is from the best method, where the best is chosen with the answer in view.

    python benchmarks/auto.py run --seeds 600 601 602 603 604   # resumable: every seed is a file
    python benchmarks/auto.py report                            # docs/results/auto.json and tables

The beds are the perceptron of nearest.py and 500 handwritten digits with the network `cnn`. Each
method has the cost that `auto` may have, 0.3 of a Retrain, or less. docs/results/nearest.md has
the results.
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

RESULTS = Path(__file__).parents[1] / "docs" / "results" / "auto.json"
PREPARED, BARE = "auto, prepared", "auto, nothing prepared"
CLUSTER = 0.05  # share of the rows that one customer has, who are similar to each other
MEASURES = ("average_gap", "row_agreement", "js_to_retrain")


class Bed(NamedTuple):
    """Data, network and recipe, and the requests that are tried."""

    network: Any
    recipe: dict[str, Any]
    scenarios: tuple[str, ...]


BEDS = {
    "perceptron": Bed(
        nearest.perceptron, nearest.BEDS["perceptron"].recipe, ("random", "customer", "class")
    ),
    "digits": Bed(
        "cnn",
        {"epochs": 20, "batch_size": 64, "lr": 0.1},
        ("random", "customer", "class", "subclass"),
    ),
}
OPTIONS = nearest.BEDS["perceptron"].options


def tried(recipe: dict[str, Any]) -> dict[str, tuple[str, dict[str, Any]]]:
    """What `auto` is compared with, at a cost of up to 0.3 of a Retrain: method and settings."""
    few, some, many = (max(1, round(share * recipe["epochs"])) for share in (0.12, 0.22, 0.3))
    quarter = recipe["batch_size"] // 4
    push = {"epochs": few, "forget_batch_size": quarter}
    return {
        "FT": ("finetune", {"epochs": many}),
        "NegGrad+ few": ("neggrad_plus", {**push, "alpha": 0.85, "lr": 0.04}),
        "NegGrad+ few, strong": ("neggrad_plus", {**push, "alpha": 0.6, "lr": 0.05}),
        "NegGrad+ small batches": (
            "neggrad_plus",
            {"epochs": some, "forget_batch_size": quarter // 2, "alpha": 0.9, "lr": 0.03},
        ),
        "CoUn": ("coun", {"epochs": many // 2, "lr": 0.1, "temperature": 0.25}),
        "NoT": ("not", {"epochs": many, "lr": 0.05}),
        "SalUn": ("salun", {"epochs": some, "lr": 0.05}),
        "DELETE": ("delete", {}),
        "held-out": ("held_out", {"epochs": few}),
        "held-out, longer": ("held_out", {"epochs": some}),
        "matching": ("out_of_fold", {"epochs": few}),
        "matching, longer": ("out_of_fold", {"epochs": some}),
    }


def data(bed: str, scenario: str) -> coun.Data:
    """The rows; for a subclass every class consists of two digits."""
    if bed == "perceptron":
        return nearest.data(bed)
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
    return coun.Split.by_index(rows, away.argsort()[: round(CLUSTER * len(images))])


def one_seed(bed: str, scenario: str, seed: int, folder: Path) -> None:
    """The Original, two Retrains, and what is not computed yet, for one request."""
    place = folder / f"{bed}-{scenario}"
    path = place / f"{seed}.json"
    results: dict[str, Any] = {"bed": bed, "scenario": scenario, "seed": seed, "rows": {}}
    if path.exists():
        results = read_json(path)
    network, recipe, _ = BEDS[bed]
    methods = {**tried(recipe), PREPARED: ("auto", {}), BARE: ("auto", {})}
    missing = [label for label in methods if label not in results["rows"]]
    if not missing:
        return
    rows = data(bed, scenario)
    split = request(scenario, rows, seed)
    # All requests of one bed start from one Original and its preparation.
    shared = folder / f"{bed}{'-pairs' if scenario == 'subclass' else ''}-{seed}"
    given = {**recipe, "seed": seed, "options": OPTIONS}
    original = coun.train(rows, network, out=shared, **given)
    if original.out_of_fold is None:
        original = coun.prepare(original, seed=seed, options=OPTIONS)
    retrains = [
        coun.train(rows, network, split=split, **{**given, "seed": seed + 1000 * k}) for k in (1, 2)
    ]
    retrain_flops = fmean(run.record.cost.flops for run in retrains)
    bare = replace(
        original, record=original.record.model_copy(update={"out_of_fold": None}), out_of_fold=None
    )
    for label in missing:
        method, settings = methods[label]
        start = original if label == PREPARED or method == "out_of_fold" else bare
        try:
            run = coun.unlearn(start, split, method, seed=seed, options=OPTIONS, **settings)
        except coun.CounError as error:  # matching has no targets for whole classes
            results["rows"][label] = {"refused": str(error)}
            continue
        measured = coun.evaluate(run, against=retrains)
        results["rows"][label] = {
            **{name: measured[name] for name in MEASURES},
            "method": run.record.method.name,
            "cost": run.record.cost.flops / retrain_flops,
        }
        results["floor"] = {name: measured["floor"][name] for name in MEASURES}
    results["environment"] = environment()
    write_json(path, results)
    print(f"{bed}, {scenario}, seed {seed}: done", flush=True)


def report(folder: Path) -> None:
    """Write the results of all seeds, and print for each scenario the gap of every method."""
    everything = []
    for bed, (_, recipe, scenarios) in BEDS.items():
        for scenario in scenarios:
            paths = sorted((folder / f"{bed}-{scenario}").glob("*.json"))
            seeds = [read_json(path) for path in paths]
            if not seeds:
                continue
            everything += seeds
            floor = fmean(s["floor"]["average_gap"] for s in seeds)
            print(f"\n{bed}, {scenario}, seeds {', '.join(str(s['seed']) for s in seeds)}")
            print(f"floor {floor:.1f}")
            gaps = {}
            for label in (*tried(recipe), PREPARED, BARE):
                rows = [s["rows"][label] for s in seeds]
                if any("refused" in row for row in rows):
                    continue
                gap, agreement, js = (fmean(row[name] for row in rows) for name in MEASURES)
                gaps[label] = gap
                cost = fmean(row["cost"] for row in rows)
                names = ", ".join(sorted({row["method"] for row in rows}))
                print(f"| {label} | {cost:.2f} | {gap:.1f} | {agreement:.1f} | {js:.3f} | {names}")
            for auto in (PREPARED, BARE):
                others = [
                    (gap, label)
                    for label, gap in gaps.items()
                    if label not in (PREPARED, BARE)
                    and not (auto == BARE and label.startswith("matching"))
                ]
                best, label = min(others)
                print(f"{auto}: {gaps[auto] - best:+.1f} from {label} ({best:.1f})")
    write_json(RESULTS, everything)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["run", "report"])
    parser.add_argument("--beds", nargs="+", choices=list(BEDS), default=list(BEDS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[300, 301, 302])
    parser.add_argument("--folder", type=Path, default=Path("runs/auto"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.what == "report":
        report(given.folder)
        return
    for seed in given.seeds:
        for bed in given.beds:
            for scenario in BEDS[bed].scenarios:
                one_seed(bed, scenario, seed, given.folder)


if __name__ == "__main__":
    main()
