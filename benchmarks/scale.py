"""Time and memory of training and evaluation against the number of rows of a stream.

    python benchmarks/scale.py --rows 10000 100000 1000000

Each size runs in a process of its own. The images are drawn from their row numbers at each
access and are never held in memory. Writes docs/results/scale.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np
from wrapped import wrapped

ROOT = Path(__file__).resolve().parent.parent
SIDE, CLASSES, TEST = 8, 10, 1_000


class Drawn:
    """Grey images (8, 8) of 10 classes: a pattern of the class, and noise of the row."""

    def __init__(self, count: int, offset: int) -> None:
        rng = np.random.default_rng(0)
        self.targets = np.arange(count) % CLASSES
        self.patterns = rng.integers(0, 128, (CLASSES, SIDE, SIDE), dtype=np.uint8)
        self.noise = rng.integers(0, 128, 2**20, dtype=np.uint8)
        self.offset = offset

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, row: int) -> tuple[np.ndarray, int]:
        if row >= len(self):
            raise IndexError(row)
        # Any two rows below 1,000,000 read different stretches of the noise.
        start = (row * 37 + self.offset) % (len(self.noise) - SIDE * SIDE)
        noise = self.noise[start : start + SIDE * SIDE].reshape(SIDE, SIDE)
        label = int(self.targets[row])
        return self.patterns[label] + noise, label


def measure(rows: int) -> dict[str, float]:
    """Seconds of each step, and the peak of memory in MiB."""
    import coun

    result: dict[str, float] = {"rows": rows}
    clock = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal clock
        result[name], clock = time.perf_counter() - clock, time.perf_counter()
        result[f"{name}_peak"] = peak()

    coun.train(coun.load("digits", limit=50), "mlp", epochs=1)
    result["start"] = peak()  # of the libraries, not of the data
    clock = time.perf_counter()
    data = coun.from_dataset(Drawn(rows, 0), Drawn(TEST, 500_000), stream=True)
    _ = data.fingerprint
    lap("read")
    with tempfile.TemporaryDirectory() as folder:
        options = coun.Options(device="cpu")
        start = coun.train(data, "mlp", epochs=1, out=Path(folder, "o"), options=options)
        lap("train")
        split = coun.Split.random(data, 0.01)
        run = coun.unlearn(start, split, "finetune", epochs=1, options=options)
        lap("unlearn")
        accuracy = coun.evaluate(run)["test_accuracy"]
        lap("evaluate")
    result |= {"test_accuracy": accuracy, "peak": peak()}
    return result


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def page(results: list[dict[str, float]], command: str) -> str:
    """The results as Markdown."""
    lines = [
        "# Time and memory against the number of rows",
        "",
        f"`{command}`, {date.today()}, {os.cpu_count()} cores shared with other work, "
        f"{platform.machine()}, one thread.",
        "",
        "A stream of grey images of 8x8 pixels that are drawn at each access "
        "(`coun.from_dataset(..., stream=True)`); an `mlp` is trained for one epoch, 1% of the "
        "rows are forgotten by one epoch of fine-tuning, and the result is evaluated. Images are "
        "never held in memory; what grows is what is kept per row: label, number, hash, "
        "place, and the answers of the model while they are measured.",
        "",
        "| rows | read and hash, s | train, s | unlearn, s | evaluate, s | peak memory, MiB | "
        "above start, MiB | bytes per row |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for r in results:
        above = r["peak"] - r["start"]
        lines.append(
            f"| {r['rows']:,.0f} | {r['read']:.1f} | {r['train']:.1f} | {r['unlearn']:.1f} | "
            f"{r['evaluate']:.1f} | {r['peak']:,.0f} | {above:,.0f} | "
            f"{above * 2**20 / r['rows']:,.0f} |"
        )
    first, last = results[0], results[-1]
    growth = (last["peak"] - first["peak"]) * 2**20 / max(1.0, last["rows"] - first["rows"])
    lines += [
        "",
        f"From {first['rows']:,.0f} to {last['rows']:,.0f} rows the peak grows by "
        f"{last['peak'] - first['peak']:,.0f} MiB, which is {growth:,.0f} bytes per row. It does "
        "not depend on the size of the images: a row of 224x224 colour pixels would take 150,528 "
        "bytes in memory.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "scale.md")
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(given.one)))
        return
    results = []
    for rows in given.rows:
        words = [sys.executable, __file__, "--one", str(rows)]
        done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
        results.append(json.loads(done.stdout.splitlines()[-1]))
        print(results[-1], flush=True)
    listing = " ".join(map(str, given.rows))
    given.out.write_text(wrapped(page(results, f"python benchmarks/scale.py --rows {listing}")))


if __name__ == "__main__":
    main()
