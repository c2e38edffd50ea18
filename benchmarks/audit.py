"""How often an audit errs, over 100 seeds on the digits: docs/results/audit.{json,md}.

Each seed trains an Original, and for a random request and a class-wise one two Retrains; it
audits one Retrain (which must come out indistinguishable) and the Original (which must be
flagged) against the other.
Resumable: a finished seed is a file in --cache.

    OMP_NUM_THREADS=1 python benchmarks/audit.py [--seeds 100] [--jobs 2]
"""

from __future__ import annotations

import argparse
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from joblib import Parallel, delayed

import coun
from coun.audit import Audit, audit
from coun.data.examples import limited
from coun.engine import environment
from coun.files import read_json, to_json, write_json, write_text

RESULTS = Path(__file__).parents[1] / "docs" / "results"
ROWS, FRACTION, EPOCHS, MODEL = 300, 0.5, 25, "cnn"
SETTING = (
    f"{ROWS} digits (stratified, other ones for every seed), no augmentation, `{MODEL}`, {EPOCHS} "
    f"epochs, a random {FRACTION:.0%} or one class forgotten, 359 test digits, one Retrain to "
    "compare with, default alpha 0.01"
)


def one(seed: int, cache: Path) -> dict[str, Any]:
    """The audits of one seed."""
    path = cache / f"{seed}.json"
    if path.exists():
        return dict(read_json(path))
    torch.set_num_threads(1)
    data = limited(coun.load("digits"), ROWS, seed)  # other rows each time
    data = replace(data, views=replace(data.views, letters="N"))
    original = coun.train(data, MODEL, seed=seed, epochs=EPOCHS)
    found: dict[str, Any] = {"seed": seed}
    for kind, split in (
        ("random", coun.Split.random(data, FRACTION, seed=seed)),
        ("class", coun.Split.by_class(data, seed % 10)),
    ):
        exact, again = (
            coun.train(data, MODEL, split=split, seed=seed + far, epochs=EPOCHS)
            for far in (0, 1000)
        )
        for name, run in (("Retrain", again), ("Original", original)):
            found[f"{name}, {kind}"] = _brief(audit(run, exact, rest=False))
    write_json(path, found)
    return found


def _brief(found: Audit) -> dict[str, Any]:
    verdict = found.verdict
    tests = {e.name: {"effect": e.effect, "p": e.p, "holm": e.holm} for e in verdict.evidence}
    return {"verdict": verdict.label, "tests": tests}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--cache", type=Path, default=Path("out/audit"))
    given = parser.parse_args()
    rows = Parallel(given.jobs, verbose=5)(
        delayed(one)(seed, given.cache) for seed in range(given.seeds)
    )
    names = [name for name in rows[0] if name != "seed"]
    counts = {name: Counter(row[name]["verdict"] for row in rows) for name in names}
    document = {
        "setting": SETTING,
        "environment": environment(),
        "counts": counts,
        "seeds": rows,
    }
    write_text(RESULTS / "audit.json", to_json(document) + "\n")
    words = sorted({word for count in counts.values() for word in count})
    tests = list(dict.fromkeys(t for name in names for t in rows[0][name]["tests"]))
    lines = [
        "# How often an audit errs",
        "",
        f"{SETTING}. Made by `python benchmarks/audit.py --seeds {given.seeds}`; every p-value is "
        "in [audit.json](audit.json).",
        "",
        *_table(words, {n: [str(counts[n][w]) for w in words] for n in names}),
        "",
        "Share of seeds with p < 0.05, each test alone. For a Retrain it should be at most 0.05; "
        "`kept_*` and `answers` allow a margin, so they are lower.",
        "",
        *_table(
            tests, {n: [_low([row[n]["tests"] for row in rows], t) for t in tests] for n in names}
        ),
    ]
    write_text(RESULTS / "audit.md", "\n".join(lines) + "\n")
    print("\n".join(lines))


def _table(columns: list[str], rows: dict[str, list[str]]) -> list[str]:
    head = ["| audited | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    return head + [f"| {name} | " + " | ".join(cells) + " |" for name, cells in rows.items()]


def _low(tests: list[dict[str, Any]], name: str) -> str:
    ps = [t[name]["p"] for t in tests if name in t]
    return f"{sum(p < 0.05 for p in ps) / len(ps):.2f}" if ps else ""


if __name__ == "__main__":
    main()
