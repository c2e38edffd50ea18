"""Every method, alone and with the contrastive module, on a CIFAR-10 subset: the tables of
docs/results/methods.md. Resumable: every run is a folder, finished ones are not repeated.

    python benchmarks/methods.py tune    # candidates on a development seed; writes the choice
    python benchmarks/methods.py run     # the choice on five other seeds
    python benchmarks/methods.py report  # the tables, from what is there

Tuning is the same for all: each method's candidates alone first; then, with the best of them,
the candidates of the module. The choice is the smallest average gap on the development seed.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from joblib import Parallel, delayed
from subset import EPOCHS, MODEL, UNLEARN, subset

import coun
from coun.engine import environment
from coun.errors import CounError
from coun.files import read_json, write_json, write_text
from coun.methods import catalogue, make
from coun.metrics import average_gap
from coun.metrics.statistics import holm, paired
from coun.report import Grid, tabulate
from coun.report.style import method_style

DEVELOPMENT, REPORTED = 100, [0, 1, 2, 3, 4]
RESULTS = Path(__file__).parents[1] / "docs" / "results"
CHOICE = RESULTS / "methods-chosen.json"
MODULES = [{"weight": w, "temperature": 0.3} for w in (0.3, 1.0)]


def lrs(*values: float, **same: Any) -> list[dict[str, Any]]:
    return [{"lr": lr, **same} for lr in values]


# Two a method, where it has something to choose; CoUn's are those that did best on 5,000 images.
CANDIDATES: dict[str, list[dict[str, Any]]] = {
    "finetune": lrs(0.05, 0.1),
    "coun": [{"lr": 0.1, "weight": w, "temperature": t} for w, t in ((1.0, 0.1), (0.5, 0.3))],
    "not": lrs(0.05, 0.1),
    "l1_sparse": [{"lr": 0.1, "gamma": g} for g in (1e-4, 3e-4)],
    "prune": [{"lr": 0.1, "sparsity": s} for s in (0.95, 0.8)],
    "cf_k": [{"lr": 0.1, "k": k} for k in (1, 2)],
    "neggrad": lrs(1e-3, 1e-2),
    "neggrad_plus": [{"lr": 0.1, "alpha": a} for a in (0.97, 0.9)],
    "projection": [{"lr": 0.1, "weight": w} for w in (0.03, 0.1)],
    "random_label": lrs(0.03, 0.1),
    "salun": lrs(0.03, 0.1),
    "scrub": lrs(5e-3, 2e-2),
    "bad_teacher": lrs(3e-4, 1e-3),
    "unsir": lrs(3e-4, 1e-3, epochs=2),
    "contrastive_unlearning": lrs(3e-3, 1e-2),
    "laf": lrs(1e-5, 1e-4),
    "boundary_shrink": lrs(1e-4, 1e-3),
    "boundary_expand": lrs(1e-4, 1e-3),
    "rum": lrs(0.05, 0.1, epochs=2),
    "unrolling": [{"scale": s} for s in (0.1, 0.01)],
    "influence": [{"alpha": a, "samples": 500} for a in (1.0, 3.0)],
    "fisher": [{"alpha": a, "draws": 1} for a in (1e-6, 1e-7)],
    "ssd": [{"selection": s} for s in (10.0, 3.0)],
    "amnesiac": lrs(0.1),
    "eu_k": [{"epochs": EPOCHS, "k": 1}],
    "sisa": [{"shards": 3, "slices": 2}],
    "arcane": [{}],
}
REFERENCES = ("original", "retrain", "retrain-again")

Job = tuple[int, str, str, dict[str, Any], dict[str, Any] | None]


def reference(root: Path, seed: int, what: str) -> None:
    """The Original, the Retrain or a second Retrain of *seed*, trained and measured."""
    torch.set_num_threads(1)
    data = subset()
    split = coun.Split.random(data, 0.1, seed=seed)
    start = seed + 1000 if what == "retrain-again" else seed
    out = root / str(seed) / what
    rest = None if what == "original" else split
    run = coun.train(data, MODEL, split=rest, seed=start, epochs=EPOCHS, out=out)
    if not (out / "metrics.json").exists():
        coun.evaluate(run, split=split)


def forget(root: Path, job: Job) -> None:
    """One method on one seed, from that seed's Original; what fails leaves its reason."""
    seed, label, method, settings, module = job
    torch.set_num_threads(1)
    out = root / str(seed) / label
    if (out / "metrics.json").exists() or (root / str(seed) / f"{label}.failed").exists():
        return
    data = subset()
    original = coun.Run.open(root / str(seed) / "original", data=data)
    split = coun.Split.random(data, 0.1, seed=seed)
    try:
        run = coun.unlearn(original, split, method, seed=seed, out=out, contrast=module, **settings)
    except CounError as error:  # a candidate that diverges is a result too
        write_text(root / str(seed) / f"{label}.failed", f"{error}\n")
        return
    coun.evaluate(run)


def label_of(method: str, settings: dict[str, Any], module: dict[str, Any] | None) -> str:
    parts = [method, *(f"{k}={v}" for k, v in settings.items() if (k, v) != ("epochs", UNLEARN))]
    if module is not None:
        parts += ["module", *(f"{k}={v}" for k, v in module.items())]
    return "-".join(parts)


def settings_of(method: str, given: dict[str, Any]) -> dict[str, Any]:
    """*given*, with the common number of epochs where the method trains and says nothing else."""
    own = catalogue()[method].__dataclass_fields__
    own_recipe = catalogue()[method].exact or method == "unrolling"
    common = {"epochs": UNLEARN} if "epochs" in own and not own_recipe else {}
    return {**common, **given}


def takes_module(method: str) -> bool:
    try:
        coun.contrast(make(method))
    except CounError:
        return False
    return True


def gap(root: Path, seed: int, label: str) -> float:
    """Of one run to its seed's Retrain; infinite if the run failed."""
    path = root / str(seed) / label / "metrics.json"
    if not path.exists():
        return float("inf")
    return average_gap(read_json(path), read_json(root / str(seed) / "retrain" / "metrics.json"))


def tune(root: Path, do: Callable[..., None]) -> None:
    """Both rounds of candidates on the development seed; the best of each go to `CHOICE`."""
    chosen: dict[str, dict[str, Any]] = {}
    rounds: list[dict[str, list[tuple[dict[str, Any], dict[str, Any] | None]]]] = [
        {m: [(settings_of(m, c), None) for c in many] for m, many in CANDIDATES.items()}
    ]
    for turn in range(2):
        if turn == 1:
            rounds.append(
                {
                    m: [(chosen[m]["settings"], module) for module in MODULES]
                    for m in CANDIDATES
                    if takes_module(m) and m in chosen
                }
            )
        jobs = {
            m: [(DEVELOPMENT, label_of(m, s, c), m, s, c) for s, c in many]
            for m, many in rounds[turn].items()
        }
        alone = {m for m, many in jobs.items() if len(many) == 1 and not takes_module(m)}
        do(forget, [(root, j) for m, many in jobs.items() if m not in alone for j in many])
        for method, many in jobs.items():
            best = min(many, key=lambda job: gap(root, DEVELOPMENT, job[1]))
            if method not in alone and gap(root, DEVELOPMENT, best[1]) == float("inf"):
                print(f"{method}: no candidate gave finite weights")
                continue
            tried = [] if method in alone else many
            key = method if turn == 0 else f"{method} + module"
            chosen[key] = {
                "method": method,
                "settings": best[3],
                "contrast": best[4],
                "candidates": {job[1]: gap(root, DEVELOPMENT, job[1]) for job in tried},
            }
    write_json(CHOICE, chosen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("phase", choices=["tune", "run", "report"])
    parser.add_argument("--out", type=Path, default=Path("runs/methods"))
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()

    def do(function: Callable[..., None], calls: list[tuple[Any, ...]]) -> None:
        Parallel(n_jobs=args.workers, verbose=5)(delayed(function)(*c) for c in calls)

    if args.phase == "tune":
        do(reference, [(args.out, DEVELOPMENT, what) for what in REFERENCES[:2]])
        tune(args.out, do)
    elif args.phase == "run":
        chosen = read_json(CHOICE)
        for seed in REPORTED:
            do(reference, [(args.out, seed, what) for what in REFERENCES])
            jobs = [
                (seed, key.replace(" ", ""), one["method"], one["settings"], one["contrast"])
                for key, one in chosen.items()
            ]
            do(forget, [(args.out, job) for job in jobs])
    if args.phase in ("run", "report"):
        write_results(args.out)


def plugin(found: dict[str, list[dict[str, Any]]], chosen: dict[str, Any]) -> list[dict[str, Any]]:
    """What the module changes in each method's gap, paired by seed, Holm over the methods."""
    rows = []
    for key in chosen:
        with_module = found.get(f"{key} + module")
        if with_module is None or key not in found:
            continue
        gaps = [
            {run["seed"]: run["average_gap"] for run in runs} for runs in (found[key], with_module)
        ]
        both = sorted(gaps[0].keys() & gaps[1].keys())
        before, after = ([g[s] for s in both] for g in gaps)
        test = paired(after, before)
        rows.append({"method": key, "alone": before, "module": after, "p": test.p})
    adjusted = holm({r["method"]: r["p"] for r in rows})
    return [{**row, "p_holm": adjusted[row["method"]]} for row in rows]


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


def write_results(root: Path) -> None:
    """`methods.json` with every run, and the tables between the page's marks."""
    chosen = read_json(CHOICE)
    names = {"Original": "original", "Retrain": "retrain", "Retrain again": "retrain-again"}
    labels = names | {key: key.replace(" ", "") for key in chosen}
    runs = collect(root, REPORTED, list(labels.values()))
    found = {name: runs[label] for name, label in labels.items() if label in runs}
    reads = {m: catalogue()[m].reads for m in CANDIDATES}

    def shown(key: str) -> str:
        if key not in chosen:
            return key
        method = chosen[key]["method"]
        module = " + module" if chosen[key]["contrast"] else ""
        return method_style(method).label + module + (" †" if "forget" in reads[method] else "")

    def mean_gap(key: str) -> float:
        return sum(run.get("average_gap", 0.0) for run in found[key]) / len(found[key])

    order = sorted(found, key=mean_gap)
    order = [k for k in names if k in found] + [k for k in order if k not in names]
    tests = plugin(found, chosen)
    lines = [
        "| | alone | with the module | change | p | p (Holm) |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for row in tests:
        a, b = (sum(row[k]) / len(row[k]) for k in ("alone", "module"))
        lines.append(
            f"| {shown(row['method'])} | {a:.2f} | {b:.2f} | {b - a:+.2f} | {row['p']:.3f} "
            f"| {row['p_holm']:.3f} |"
        )
    settings = ["| | settings chosen on seed 100 |", "|---|---|"]
    for key, one in chosen.items():
        module = {f"contrast {k}": v for k, v in (one["contrast"] or {}).items()}
        values = {**one["settings"], **module}
        settings.append(f"| {shown(key)} | {json.dumps(values)[1:-1].replace(chr(34), '')} |")
    tables = {
        "reported": Grid.of_runs(tabulate({shown(k): found[k] for k in order})).markdown,
        "module": "\n".join(lines),
        "settings": "\n".join(settings),
    }
    page = (RESULTS / "methods.md").read_text(encoding="utf-8")
    for key, text in tables.items():
        before, rest = page.split(f"<!-- {key} -->")
        page = f"{before}<!-- {key} -->\n{text}\n<!-- /{key} -->{rest.split(f'<!-- /{key} -->')[1]}"
    record = {"environment": environment(), "reported": found, "module": tests, "chosen": chosen}
    write_json(RESULTS / "methods.json", record)
    write_text(RESULTS / "methods.md", page)


if __name__ == "__main__":
    main()
