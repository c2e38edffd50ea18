"""How near held-out matching comes to Retrain for requests that are not drawn by lot.

    python benchmarks/held_out_requests.py --seeds 20 21 22 23 24

Held-out matching learns from held-out rows how sure a model may be, so requests of easy, hard,
alike or rare rows are where it may fail. The data are handwritten digits, and a table of two
classes with 10% wrong labels; of both there is a form in which one class is rare, and has one or
two held-out rows. docs/results/nearest.md and held-out-requests.json have the results.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import torch
from torch import Tensor

import coun
from coun.engine import environment, predict
from coun.files import write_json

RESULTS = Path(__file__).parents[1] / "docs" / "results" / "held-out-requests.json"
EPOCHS, NETWORK = 30, "mlp"
METHODS = ("held_out", "auto", "coun")
MEASURES = ("average_gap", "row_agreement", "js_to_retrain")
RARE = {"digits": (20, 2), "table": (40, 4)}  # training and test rows of the rare class


def arrays(name: str, seed: int) -> tuple[np.ndarray, ...]:
    """Training inputs and labels, then those of the test part."""
    if name == "digits":
        digits = coun.load("digits", limit=700)
        parts = (digits.train, digits.test)
        return tuple(a.numpy() for part in parts for a in (part.images, part.labels))
    draw = np.random.default_rng(100 + seed)
    x = draw.normal(size=(1800, 8)).astype(np.float32)
    y = (2 * x[:, 0] + np.sin(2 * x[:, 1]) + x[:, 2] * x[:, 3] > 0).astype(int)
    y = np.where(draw.random(len(y)) < 0.1, 1 - y, y)
    return x[:1200], y[:1200], x[1200:], y[1200:]


def rarer(parts: tuple[np.ndarray, ...], label: int, sizes: tuple[int, int]) -> coun.Data:
    """Keep so many training and test rows of class *label*, and all rows of the others."""
    kept = []
    for x, y, size in zip(parts[::2], parts[1::2], sizes, strict=True):
        rows = np.flatnonzero((y != label) | (np.cumsum(y == label) <= size))
        kept += [x[rows], y[rows]]
    return coun.from_arrays(*kept)


def requests(name: str, seed: int) -> Iterator[tuple[str, coun.Data, coun.Run, np.ndarray]]:
    """What is forgotten: a title, the data, the Original, and the places of the rows."""
    draw = np.random.default_rng(seed)
    parts = arrays(name, seed)
    data = coun.from_arrays(*parts)
    original = coun.train(data, NETWORK, epochs=EPOCHS, seed=seed)
    count = len(data.train)
    own = probability(original, data, torch.arange(count))
    easy = np.argsort(-own)
    hard = np.argsort(np.where(own > 0.5, own, 2))  # wrong labels are for class matching
    inputs = parts[0].reshape(count, -1).astype(float)  # differences of bytes would wrap around
    alike = np.argsort(((inputs - inputs[seed]) ** 2).sum(1))
    by_lot = draw.permutation(count)
    for title, order in {
        "by lot": by_lot,
        "easiest": easy,
        "hardest": hard,
        "alike": alike,
    }.items():
        for size in (2, 10, 50):
            yield f"{title}, {size}", data, original, order[:size]
    label = 8 if name == "digits" else 1
    rare = rarer(parts, label, RARE[name])
    original = coun.train(rare, NETWORK, epochs=EPOCHS, seed=seed)
    of_class = np.flatnonzero(rare.train.labels.numpy() == label)
    for size in (2, 10):
        yield f"of a rare class, {size}", rare, original, draw.permutation(of_class)[:size]


def probability(run: coun.Run, data: coun.Data, rows: Tensor) -> np.ndarray:
    """What *run* gives the labels of training rows, (n,)."""
    part = data.train.take(rows)
    logits = predict(run.classifier, data, part, with_features=False).logits
    return logits.softmax(1)[torch.arange(len(rows)), part.labels].numpy()


def one_seed(name: str, seed: int) -> Iterator[dict[str, Any]]:
    """Every request of one data set, by each method."""
    for title, data, original, places in requests(name, seed):
        split = coun.Split.by_index(data, data.train.numbers[torch.from_numpy(places.copy())])
        retrains = [
            coun.train(data, NETWORK, split=split, epochs=EPOCHS, seed=seed + 1000 * k)
            for k in (1, 2)
        ]
        row: dict[str, Any] = {"data": name, "seed": seed, "request": title}
        measured = coun.evaluate(original, against=retrains, split=split)
        row["Original"] = {m: measured[m] for m in MEASURES}
        row["floor"] = {m: measured["floor"][m] for m in MEASURES}
        for method in METHODS:
            run = coun.unlearn(original, split, method, data=data, seed=seed)
            measured = coun.evaluate(run, against=retrains)
            row[method] = {m: measured[m] for m in MEASURES}
        yield row


def report(rows: list[dict[str, Any]]) -> None:
    """Print the means over seeds as a table."""
    names = ("floor", "Original", *METHODS)
    print("| data | request | " + " | ".join(names) + " |\n|---|---|" + "---:|" * len(names))
    for data in dict.fromkeys(row["data"] for row in rows):
        for title in dict.fromkeys(row["request"] for row in rows):
            alike = [row for row in rows if (row["data"], row["request"]) == (data, title)]
            cells = []
            for name in names:
                gaps = [row[name]["average_gap"] for row in alike]
                js = fmean(row[name]["js_to_retrain"] for row in alike)
                gaps = [gap for gap in gaps if gap is not None]
                spread = f"±{stdev(gaps):.1f}" if len(gaps) > 1 else ""
                cells.append(f"{fmean(gaps):.1f}{spread} ({js:.3f})")
            print(f"| {data} | {title} | " + " | ".join(cells) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[20, 21, 22, 23, 24])
    parser.add_argument("--data", nargs="+", choices=list(RARE), default=list(RARE))
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    rows = []
    for name in options.data:
        for seed in options.seeds:
            rows += list(one_seed(name, seed))
            print(f"{name}, seed {seed}: done", flush=True)
            write_json(options.out, {"environment": environment(), "rows": rows})
    report(rows)


if __name__ == "__main__":
    main()
