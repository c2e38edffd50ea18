"""Kill `unlearn` and `evaluate` at random moments, and compare what follows with quiet runs.

    python benchmarks/run_kills.py 20 --out docs/results/run-kills.json

A child process unlearns from a small Original, or evaluates the result, and gets SIGKILL after a
random time, up to three times in a row. Then the same call is repeated without a kill. The
weights, the metrics and the list of files must be those of a run that nobody disturbed. The folder
must open, or be an unfinished run, after each kill. So many kills are made of each of the two.
"""

from __future__ import annotations

import json
import random
import shutil
import tempfile
from pathlib import Path
from typing import Any

from kills import Trials, Work, child, exit_code, options, report, seconds_of

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


def trials(work: Work, base: Path, kills: int, draw: random.Random) -> dict[str, Any]:
    """Kill *work* on copies of *base*, and compare each copy with one that nobody disturbed."""
    quiet = base.with_name("quiet")
    shutil.copytree(base, quiet)
    seconds = seconds_of(work, quiet)
    expected = outcome(quiet)
    shutil.rmtree(quiet)

    def repeat(folder: Path, number: int) -> list[str]:
        code = exit_code(child(work, folder))
        left = outcome(folder)
        extra = set(left["files"]) - set(expected["files"])
        return [
            *[f"the repeated call ended with {code}"] * bool(code),
            *[f"other {name}" for name in expected if left[name] != expected[name]],
            *[f"left: {name}" for name in extra],
        ]

    series = Trials(work, lambda folder: faults(folder, expected), repeat)
    return series.run(base, kills, seconds, draw)


def main() -> None:
    arguments = options(__doc__)
    draw = random.Random(arguments.seed)
    base = Path(tempfile.mkdtemp()) / "base"
    coun.train(coun.load("digits", limit=200), "mlp", epochs=2, out=base / "original")
    result = {"unlearn": trials(unlearn, base, arguments.kills, draw)}
    unlearn(base)
    result["evaluate"] = trials(evaluate, base, arguments.kills, draw)
    shutil.rmtree(base.parent)
    report(result, arguments.out)


if __name__ == "__main__":
    main()
