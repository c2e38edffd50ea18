"""FT, NoT and CoUn against Retrain on 5,000 CIFAR-10 images, several seeds: the table of
docs/results/cifar10.md. Resumable: every run is a folder, finished ones are not repeated.

    python benchmarks/cifar10.py tune    # candidates on a development seed
    python benchmarks/cifar10.py run     # chosen settings on five other seeds
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import product
from pathlib import Path

import torch
from joblib import Parallel, delayed

import coun
from coun.files import read_json, write_json

SOURCE, LIMIT, MODEL, EPOCHS = "hf:../shared/data/cifar10", 5000, "resnet8", 30
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
    split = None if what == "original" else coun.Split.random(data, 0.1, seed=seed)
    start = seed + 1000 if what == "retrain-again" else seed
    out = root / str(seed) / what
    run = coun.train(data, MODEL, split=split, seed=start, epochs=EPOCHS, out=out)
    if not (out / "metrics.json").exists():
        coun.evaluate(run)


def forget(root: Path, seed: int, label: str, method: str, settings: dict[str, float]) -> None:
    """One method on one seed, measured against that seed's Retrain."""
    torch.set_num_threads(1)
    folder = root / str(seed)
    data = coun.load(SOURCE, limit=LIMIT)
    original = coun.Run.open(folder / "original", data=data)
    split = coun.Split.random(data, 0.1, seed=seed)
    run = coun.unlearn(original, split, method, seed=seed, out=folder / label, **settings)
    if "average_gap" not in (read_json(folder / label / "metrics.json") if _measured(run) else {}):
        coun.evaluate(run, against=folder / "retrain")


def _measured(run: coun.Run) -> bool:
    return run.folder is not None and (run.folder / "metrics.json").exists()


def label_of(method: str, settings: dict[str, float]) -> str:
    return "-".join([method, *(f"{k}{v:g}" for k, v in settings.items())])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("phase", choices=["tune", "references", "run"])
    parser.add_argument("--out", type=Path, default=Path("runs/cifar10"))
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    seeds = DEVELOPMENT if args.phase == "tune" else REPORTED

    def do(jobs: list[tuple[Callable[..., None], tuple[object, ...]]]) -> None:
        Parallel(n_jobs=args.workers, verbose=10)(delayed(f)(*a) for f, a in jobs)

    kinds = ("original", "retrain", "retrain-again")
    do([(reference, (args.out, s, kind)) for s in seeds for kind in kinds])
    if args.phase == "references":
        return
    jobs: list[tuple[str, str, dict[str, float]]] = [
        (label_of(m, c), m, c) for m, many in CANDIDATES.items() for c in many
    ]
    if args.phase == "run":
        jobs = [(label, m, c) for label, (m, c) in CHOSEN.items()]
    do([(forget, (args.out, s, *job)) for s in seeds for job in jobs])
    rows = {
        f"{s}/{label}": read_json(args.out / str(s) / label / "metrics.json")
        for s in seeds
        for label in [*kinds, *(j[0] for j in jobs)]
    }
    write_json(args.out / f"{args.phase}.json", rows)
    for name, row in rows.items():
        print(f"{name:48} gap {row.get('average_gap', float('nan')):6.2f}", row["retain_accuracy"])


if __name__ == "__main__":
    main()
