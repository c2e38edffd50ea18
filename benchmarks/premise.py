"""The paper's premise, tested on real and on counter-example data; and its theory, measured.

Does Retrain send a forgotten class where it is semantically near, and do FT and CoUn follow? Are
retained views aligned and forgotten ones less so? docs/results/premise.md has the tables.

    python benchmarks/premise.py run     # resumable: every class is a file
    python benchmarks/premise.py report  # the tables, from what is there
"""

from __future__ import annotations

import argparse
import os
from dataclasses import asdict
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from joblib import Parallel, delayed

import coun
from coun.analysis import landscape, theory
from coun.data.sources.synthetic import CLASSES
from coun.engine import environment
from coun.errors import CounError
from coun.files import read_json, write_json, write_text
from coun.metrics import (
    centroids,
    class_similarities,
    mean_interval,
    prediction_rows,
    row_difference,
    semantic_correlation,
)
from coun.report.figures import loss_lines
from coun.runs import predictions
from coun.seeds import Seeds

RESULTS = Path(__file__).parents[1] / "docs" / "results"
DATA = os.environ.get("COUN_DATA", "data")  # the folder that holds cifar10/
COUN = {"lr": 0.1, "weight": 0.5, "temperature": 0.1}
# Data, its model, epochs of training, and which classes are forgotten, one at a time.
SETS: dict[str, tuple[str, str, int, range]] = {
    "digits": ("digits", "cnn", 30, range(10)),
    "CIFAR-10, 1,500 images": (f"hf:{DATA}/cifar10", "resnet8", 30, range(0, 10, 2)),
    **{
        f"synthetic, {kind}": (f"synthetic:{kind},train=1000,test=500", "cnn", 20, range(0, 10, 2))
        for kind in ("background", "texture", "frequency", "noise")
    },
}


def class_distances(kind: str) -> np.ndarray:
    """Steps between the classes of synthetic images, (10, 10); hues and angles go in circles."""
    steps = np.abs(np.subtract.outer(np.arange(CLASSES), np.arange(CLASSES)))
    return np.minimum(steps, CLASSES - steps) if kind in ("background", "texture") else steps


def runs_of(name: str, split_of: Any) -> tuple[coun.Data, coun.Split, dict[str, coun.Run]]:
    """Original, Retrain, FT and CoUn for one request on one data set."""
    torch.set_num_threads(1)
    source, model, epochs, _ = SETS[name]
    data = coun.load(source, limit=1500 if source.startswith("hf:") else None)
    split = split_of(data)
    original = coun.train(data, model, epochs=epochs)
    computed = {
        "Original": original,
        "Retrain": coun.train(data, model, split=split, epochs=epochs),
    }
    computed["FT"] = coun.unlearn(original, split, "finetune", lr=0.1)
    computed["CoUn"] = coun.unlearn(original, split, "coun", **COUN)
    return data, split, computed


def one_class(name: str, number: int, cache: Path) -> None:
    """Forget one class: who sends its rows where, and is that where its meaning is near?"""
    path = cache / f"{name.replace(' ', '-')}-{number}.json"
    if path.exists():
        return
    data, split, runs = runs_of(name, lambda data: coun.Split.by_class(data, number))
    rows, near = {}, None
    for label, run in runs.items():
        out = predictions(run.classifier, data, split)
        rows[label] = prediction_rows(out.outputs["forget"].logits, out.labels["forget"])[number]
        if label == "Original":  # the model that knows the class says what it is like
            features, labels = (
                np.concatenate([np.asarray(part[role]) for role in ("retain", "forget")])
                for part in ({k: o.features for k, o in out.outputs.items()}, out.labels)
            )
            near = class_similarities(centroids(features, labels, len(data.classes)), number)
    truths = {"learned": near}
    if name.startswith("synthetic"):
        truths["by construction"] = -class_distances(name.split(", ")[1])[number].astype(float)
    correlation = {}
    for label, similar in truths.items():
        generator = Seeds(0).numpy("premise", number)
        try:
            computed = semantic_correlation(similar, rows["Retrain"], number, generator=generator)
        except CounError:
            continue
        correlation[label] = asdict(computed)
    differences = {k: row_difference(rows[k], rows["Retrain"]) for k in ("Original", "FT", "CoUn")}
    shares = {k: v.tolist() for k, v in rows.items()}
    write_json(path, {"rows": shares, "correlation": correlation, "difference": differences})


def alignment(name: str, seed: int, cache: Path) -> None:
    """Alignment and steepness of all four models for one class request; and their landscape."""
    path = cache / f"theory-{name.replace(' ', '-')}-{seed}.json"
    if path.exists():
        return
    data, split, runs = runs_of(name, lambda data: coun.Split.by_class(data, seed))
    write_json(path, theory(runs, split, limit=150, steps=10))
    if seed == 0:
        slices = {k: landscape(r.classifier, data, split, limit=300) for k, r in runs.items()}
        picture = loss_lines(slices)
        picture.savefig(RESULTS / f"premise-{name.split(',')[0].lower()}.png", dpi=80)


def report(cache: Path) -> None:
    """`premise.json`, and its tables between the page's marks."""
    record: dict[str, Any] = {"environment": environment(), "sets": {}, "theory": {}}
    lines = [
        "| data | classes | rho, learned similarity | p < 0.05 | rho, similarity by construction "
        "| p < 0.05 | to Retrain's row: Original | FT | CoUn |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, (*_, numbers) in SETS.items():
        files = [cache / f"{name.replace(' ', '-')}-{n}.json" for n in numbers]
        computed = [read_json(f) for f in files if f.exists()]
        record["sets"][name] = computed
        if not computed:
            continue
        cells = [name, str(len(computed))]
        for kind in ("learned", "by construction"):
            values = [f["correlation"][kind] for f in computed if kind in f["correlation"]]
            values = [v for v in values if v["rho"] is not None and np.isfinite(v["rho"])]
            if not values:
                cells += ["", ""]
                continue
            rho = mean_interval([v["rho"] for v in values])
            few = sum(v["p"] < 0.05 for v in values)
            cells += [f"{rho.mean:+.2f} ± {rho.half_width:.2f}", f"{few} of {len(values)}"]
        for k in ("Original", "FT", "CoUn"):
            cells.append(f"{mean(f['difference'][k] for f in computed):.1f}")
        lines.append(f"| {' | '.join(cells)} |")
    second = [
        "| data | model | R[0.5] retain | R[0.5] forget | slope retain | slope forget "
        "| Jacobian retain | Jacobian forget |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name in list(SETS)[:2]:
        files = sorted(cache.glob(f"theory-{name.replace(' ', '-')}-*.json"))
        tables = [read_json(f) for f in files]
        record["theory"][name] = tables
        for model in tables[0] if tables else ():
            cells = [f"{name}, {len(tables)} classes", model]
            for get in (
                lambda t: t["r_eps"]["0.5"],
                lambda t: t["view_slope"]["mean"],
                lambda t: t["jacobian_norm"]["mean"],
            ):
                for role in ("retain", "forget"):
                    cells.append(f"{mean(get(t[model][role]) for t in tables):.2f}")
            second.append(f"| {' | '.join(cells)} |")
    write_json(RESULTS / "premise.json", record)
    page = (RESULTS / "premise.md").read_text(encoding="utf-8")
    for key, text in (("semantics", lines), ("theory", second)):
        before, rest = page.split(f"<!-- {key} -->\n")
        after = rest.split(f"<!-- /{key} -->")[1]
        page = f"{before}<!-- {key} -->\n" + "\n".join(text) + f"\n<!-- /{key} -->{after}"
    write_text(RESULTS / "premise.md", page)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("phase", choices=["run", "report"])
    parser.add_argument("--out", type=Path, default=Path("runs/premise"))
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.phase == "run":
        jobs = [
            *(delayed(alignment)(n, s, args.out) for s in range(3) for n in list(SETS)[:2]),
            *(delayed(one_class)(n, c, args.out) for n, (*_, cs) in SETS.items() for c in cs),
        ]
        Parallel(n_jobs=args.workers, verbose=5)(jobs)
    report(args.out)


if __name__ == "__main__":
    main()
