"""Kill `unlearn` and `evaluate` at random moments, and compare what follows with quiet runs.

    python benchmarks/run_kills.py 20 --out docs/results/run-kills.json

A child process unlearns from a small Original, or evaluates the result, and gets SIGKILL after a
random time, up to three times in a row. Then the same call is repeated without a kill. The
weights, the metrics and the list of files must be those of a run that nobody disturbed. The folder
must open, or be an unfinished run, after each kill. So many kills are made of each of the two.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from registry_kills import MOST_KILLS, child

import coun

# One checkpoint at each step, so that kills meet many moments of writing.
OPTIONS = coun.Options(checkpoint_every=0.0, device="cpu")
FORGOTTEN = "unlearned"


def unlearn(folder: Path) -> object:
    """Unlearn from the Original in *folder*, or continue an interrupted run."""
    start = folder / "original"
    split = coun.Split.random(coun.load("digits", limit=200), 0.1)
    run = coun.unlearn(start, split, "coun", epochs=3, out=folder / FORGOTTEN, options=OPTIONS)
    return run.record.weights_sha256


def evaluate(folder: Path) -> object:
    """Evaluate the unlearned run in *folder*."""
    return coun.evaluate(folder / FORGOTTEN)


def outcome(folder: Path) -> dict[str, Any]:
    """What a run left: digest of its weights, its metrics, and its files."""
    run = folder / FORGOTTEN
    metrics = run / "metrics.json"
    return {
        "weights": coun.Run.open(run).record.weights_sha256,
        "metrics": json.loads(metrics.read_text()) if metrics.exists() else None,
        "files": sorted(str(path.relative_to(folder)) for path in folder.rglob("*")),
    }


def faults(folder: Path, expected: dict[str, Any]) -> list[str]:
    """What is wrong after a kill: a run must be absent, unfinished, or that of *expected*."""
    run = folder / FORGOTTEN
    record = run / "run.json"
    if not record.exists():
        return []
    if json.loads(record.read_text())["status"] == "running":
        return []
    left = outcome(folder)
    problems = ["other weights"] * (left["weights"] != expected["weights"])
    wrong = left["metrics"] not in (None, expected["metrics"])
    return problems + ["other metrics"] * wrong


def trials(
    work: Callable[[Path], object], base: Path, kills: int, draw: random.Random
) -> dict[str, Any]:
    """Kill *work* on copies of *base* until *kills* processes were killed before their end."""
    quiet = base.with_name("quiet")
    shutil.copytree(base, quiet)
    start = time.perf_counter()
    os.waitpid(child(lambda: work(quiet)), 0)
    seconds = time.perf_counter() - start
    expected = outcome(quiet)
    shutil.rmtree(quiet)
    counts: collections.Counter[str] = collections.Counter()
    problems: list[str] = []
    while counts["kills"] < kills:
        counts["trials"] += 1
        where = f"trial {counts['trials']}"
        folder = base.with_name("trial")
        shutil.copytree(base, folder)
        for _ in range(draw.randint(1, MOST_KILLS)):
            process = child(lambda: work(folder))  # noqa: B023
            time.sleep(draw.uniform(0, 1.05 * seconds))
            os.kill(process, signal.SIGKILL)
            _, status = os.waitpid(process, 0)
            counts["kills" if os.WIFSIGNALED(status) else "ended before the kill"] += 1
            problems += [f"{where}: {fault}" for fault in faults(folder, expected)]
        _, status = os.waitpid(child(lambda: work(folder)), 0)  # noqa: B023
        if status:
            problems.append(f"{where}: the repeated call ended with {os.WEXITSTATUS(status)}")
        after = outcome(folder)
        problems += [f"{where}: other {name}" for name in expected if after[name] != expected[name]]
        problems += [f"left: {name}" for name in set(after["files"]) - set(expected["files"])]
        shutil.rmtree(folder)
        print(f"{work.__name__}, {where}: {dict(counts)}, {len(problems)} faults", file=sys.stderr)
    return {"seconds of a quiet call": round(seconds, 2), **counts, "faults": problems}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kills", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    draw = random.Random(arguments.seed)
    base = Path(tempfile.mkdtemp()) / "base"
    coun.train(coun.load("digits", limit=200), "mlp", epochs=2, out=base / "original")
    result = {"unlearn": trials(unlearn, base, arguments.kills, draw)}
    unlearn(base)
    result["evaluate"] = trials(evaluate, base, arguments.kills, draw)
    shutil.rmtree(base.parent)
    text = json.dumps(result, indent=2)
    print(text)
    if arguments.out is not None:
        arguments.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
