"""FT, NoT and CoUn against Retrain on 5,000 CIFAR-10 images, several seeds: the table of
docs/results/cifar10.md. Resumable: every run is a folder, finished ones are not repeated.

    python benchmarks/cifar10.py tune    # candidates on a development seed
    python benchmarks/cifar10.py run     # chosen settings on five other seeds
    python benchmarks/cifar10.py report  # the tables again, from what is there
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import torch
from joblib import Parallel, delayed
from scipy.stats import ttest_rel

import coun
from coun.engine import environment
from coun.files import read_json, write_json, write_text
from coun.metrics import average_gap
from coun.report import Grid, tabulate

SOURCE, LIMIT, MODEL, EPOCHS = "hf:../shared/data/cifar10", 5000, "resnet8", 30
RESULTS = Path(__file__).parents[1] / "docs" / "results"
DEVELOPMENT, REPORTED = [100], [0, 1, 2, 3, 4]
CANDIDATES: dict[str, list[dict[str, float]]] = {
    "finetune": [{"lr": lr} for lr in (0.05, 0.1)],
    "not": [{"lr": lr} for lr in (0.05, 0.1)],
    "coun": [
        {"lr": lr, "weight": w, "temperature": t}
        for lr, w, t in product((0.05, 0.1), (0.5, 1.0), (0.1, 0.3))
    ],
}
CHOSEN: dict[str, tuple[str, dict[str, float]]] = {
    "FT": ("finetune", {"lr": 0.1}),
    "NoT": ("not", {"lr": 0.05}),
    "CoUn": ("coun", {"lr": 0.1, "weight": 0.5, "temperature": 0.3}),
}


def reference(root: Path, seed: int, what: str) -> None:
    """The Original, the Retrain or a second Retrain of *seed*, trained and measured."""
    torch.set_num_threads(1)
    data = coun.load(SOURCE, limit=LIMIT)
    split = coun.Split.random(data, 0.1, seed=seed)
    start = seed + 1000 if what == "retrain-again" else seed
    out = root / str(seed) / what
    rest = None if what == "original" else split
    run = coun.train(data, MODEL, split=rest, seed=start, epochs=EPOCHS, out=out)
    if not (out / "metrics.json").exists():
        coun.evaluate(run, split=split)


def forget(root: Path, seed: int, label: str, method: str, settings: dict[str, float]) -> None:
    """One method on one seed, from that seed's Original."""
    torch.set_num_threads(1)
    data = coun.load(SOURCE, limit=LIMIT)
    original = coun.Run.open(root / str(seed) / "original", data=data)
    split = coun.Split.random(data, 0.1, seed=seed)
    out = root / str(seed) / label
    run = coun.unlearn(original, split, method, seed=seed, out=out, **settings)
    if not (out / "metrics.json").exists():
        coun.evaluate(run)


def label_of(method: str, settings: dict[str, float]) -> str:
    return "-".join([method, *(f"{k}{v:g}" for k, v in settings.items())])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("phase", choices=["tune", "run", "report"])
    parser.add_argument("--out", type=Path, default=Path("runs/cifar10"))
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    seeds = DEVELOPMENT if args.phase == "tune" else REPORTED

    def do(jobs: list[tuple[Callable[..., None], tuple[object, ...]]]) -> None:
        Parallel(n_jobs=args.workers, verbose=10)(delayed(f)(*a) for f, a in jobs)

    if args.phase == "report":
        write_results(args.out, RESULTS)
        return
    do([(reference, (args.out, s, kind)) for s in seeds for kind in ("original", "retrain")])
    jobs: list[tuple[str, str, dict[str, float]]] = [
        (label_of(m, c), m, c) for m, many in CANDIDATES.items() for c in many
    ]
    if args.phase == "run":
        jobs = [(label, m, c) for label, (m, c) in CHOSEN.items()]
    do([(forget, (args.out, s, *job)) for s in seeds for job in jobs])
    do([(reference, (args.out, s, "retrain-again")) for s in seeds])
    write_results(args.out, RESULTS)


def collect(root: Path, seeds: list[int], labels: list[str]) -> dict[str, list[dict[str, Any]]]:
    """Metrics per label and seed, with gap and cost against that seed's own Retrain."""
    found: dict[str, list[dict[str, Any]]] = {}
    for label in labels:
        for seed in seeds:
            folder, exact = root / str(seed) / label, root / str(seed) / "retrain"
            if not (folder / "metrics.json").exists():
                continue
            row, retrain = read_json(folder / "metrics.json"), read_json(exact / "metrics.json")
            costs = [read_json(x / "run.json")["cost"]["flops"] for x in (folder, exact)]
            row |= {"seed": seed, "cost_ratio": costs[0] / costs[1]}
            if label != "retrain":
                row["average_gap"] = average_gap(row, retrain)
            found.setdefault(label, []).append(row)
    return found


def write_results(root: Path, folder: Path) -> None:
    """`cifar10.json` with every run, and the tables as Markdown between the page's marks."""
    names = {"original": "Original", "retrain": "Retrain", "retrain-again": "Retrain again"}
    tuned = {label_of(m, c): label_of(m, c) for m, many in CANDIDATES.items() for c in many}
    tables = {
        "reported": (REPORTED, {**names, **{label: label for label in CHOSEN}}),
        "development": (DEVELOPMENT, {**names, **tuned}),
    }
    record: dict[str, Any] = {"environment": environment()}
    page = (folder / "cifar10.md").read_text(encoding="utf-8")
    for key, (seeds, labels) in tables.items():
        found = collect(root, seeds, list(labels))
        record[key] = found
        text = Grid.of_runs(tabulate({labels[k]: v for k, v in found.items()})).markdown
        before, rest = page.split(f"<!-- {key} -->")
        page = f"{before}<!-- {key} -->\n{text}\n<!-- /{key} -->{rest.split(f'<!-- /{key} -->')[1]}"
    gaps = {k: [r["average_gap"] for r in record["reported"][k]] for k in CHOSEN}
    tests = {k: ttest_rel(gaps[k], gaps["CoUn"]) for k in CHOSEN if k != "CoUn"}
    record["paired_t"] = {
        k: {"t": float(t.statistic), "p": float(t.pvalue), "df": float(t.df)}
        for k, t in tests.items()
    }
    write_json(folder / "cifar10.json", record)
    write_text(folder / "cifar10.md", page)


if __name__ == "__main__":
    main()
