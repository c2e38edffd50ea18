"""Audits of models of unusual data: docs/results/audit-data.md and audit-data.json.

Copies, wrong labels, rare classes, marked rows: does a true Retrain stay innocent, and is an
Original that forgot nothing found? The networks are those of audit.py. Alpha is 0.05, so that a
test that is not valid shows with few audits.

    OMP_NUM_THREADS=1 python benchmarks/audit_data.py --data hf:PATH/cifar10 --seeds 6
"""

from __future__ import annotations

import argparse
import datetime
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import audit
import numpy as np
import torch
from audit_models import BATCH, Nets, Pool, World, drawn, fit, forgetting, pools
from audit_page import ACCUSING, limit
from wrapped import wrapped

from coun.audit import rank_tests, top_rows
from coun.audit.parts import RequestParts, without_copies
from coun.audit.scores import Subject
from coun.audit.verdict import CLEAR
from coun.engine import environment
from coun.files import read_json, to_json, write_json, write_text

ALPHA = 0.05
RETRAINS = (0, 1, 3)
RESULTS = Path(__file__).parents[1] / "docs" / "results"
Draw = Callable[[Pool, np.random.Generator], World]


def by_lot(world: World, rng: np.random.Generator, count: int = 100, random: bool = True) -> World:
    """The same rows; *count* of them are to be forgotten, by lot."""
    return forgetting(world, rng.permutation(len(world.y))[:count], random)


def twice(world: World, rng: np.random.Generator, share: float, noise: float = 0.0) -> World:
    """The same rows, of which the first *share* are there twice, the second time with noise."""
    x, y = (part[: round(share * len(world.y))] for part in (world.x, world.y))
    x = x + noise * torch.from_numpy(rng.normal(size=x.shape)).float() if noise else x
    return replace(world, x=torch.cat([world.x, x]), y=torch.cat([world.y, y]))


def mistaken(world: World, rng: np.random.Generator) -> tuple[World, torch.Tensor]:
    """The same rows, a fifth of them with wrong labels; and which these are."""
    rows = torch.from_numpy(rng.permutation(len(world.y))[: len(world.y) // 5])
    y = world.y.clone()
    y[rows] = (y[rows] + torch.from_numpy(rng.integers(1, 10, len(rows)))) % 10
    return replace(world, y=y), rows


def long_tail(pool: Pool, rng: np.random.Generator) -> World:
    """The largest class has 20 times as many training rows as the smallest; test rows do not."""
    world = drawn(pool, rng, min(2 * pool.rows[0], len(pool.labels) - pool.rows[1]))
    stay = torch.from_numpy(rng.random(len(world.y))) < 20 ** (-world.y.double() / 9)
    return replace(world, x=world.x[stay], y=world.y[stay])


def subclass(pool: Pool, rng: np.random.Generator) -> World:
    """The half of a class on one side of its first principal component."""
    world = drawn(pool, rng)
    rows = torch.nonzero(world.y == int(rng.integers(10))).flatten()
    middle = world.x[rows] - world.x[rows].mean(0)
    side = torch.linalg.svd(middle, full_matrices=False)[0][:, 0]
    return forgetting(world, rows[side.argsort()[: len(rows) // 2]])


def marked(pool: Pool, rng: np.random.Generator) -> World:
    """A tenth of the rows carry a mark and the label 0."""
    world = drawn(pool, rng)
    others = torch.nonzero(world.y != 0).flatten().numpy()
    rows = torch.from_numpy(rng.permutation(others)[: len(world.y) // 10])
    x, y = world.x.clone(), world.y.clone()
    x[rows, -3:], y[rows] = 4.0, 0
    return forgetting(replace(world, x=x, y=y), rows)


def cluster(pool: Pool, rng: np.random.Generator) -> World:
    """The 20 rows of a class that resemble one of them most."""
    world = drawn(pool, rng)
    middle = int(rng.integers(len(world.y)))
    away = torch.cdist(world.x[[middle]], world.x)[0] + 1e6 * (world.y != world.y[middle])
    return forgetting(world, away.argsort()[:20])


def wrong_half(pool: Pool, rng: np.random.Generator) -> World:
    """Half of the rows with wrong labels; the other half stays."""
    world, rows = mistaken(drawn(pool, rng), rng)
    return forgetting(world, rows[: len(rows) // 2])


def wrong_class(pool: Pool, rng: np.random.Generator) -> World:
    """All rows with one label, right or wrong."""
    world, _ = mistaken(drawn(pool, rng), rng)
    return forgetting(world, world.y == int(rng.integers(10)))


def rarest(pool: Pool, rng: np.random.Generator) -> World:
    """The smallest class of a long tail."""
    world = long_tail(pool, rng)
    return forgetting(world, world.y == 9)


REQUESTS: dict[str, Draw] = {
    "all rows twice; 100 by lot": lambda p, r: by_lot(twice(drawn(p, r), r, 1.0), r),
    "a third of the rows twice; 100 by lot": lambda p, r: by_lot(twice(drawn(p, r), r, 1 / 3), r),
    "60 listed rows, whose copies stay": lambda p, r: forgetting(
        twice(drawn(p, r), r, 60 / p.rows[0]), torch.arange(60)
    ),
    "near-copies of all rows; 100 by lot": lambda p, r: by_lot(twice(drawn(p, r), r, 1.0, 0.1), r),
    "20% wrong labels; 100 by lot": lambda p, r: by_lot(mistaken(drawn(p, r), r)[0], r),
    "20% wrong labels; half of them": wrong_half,
    "20% wrong labels; a class": wrong_class,
    "long tail 20:1; a sixth by lot": lambda p, r: by_lot(
        tail := long_tail(p, r), r, len(tail.y) // 6
    ),
    "long tail 20:1; the rarest class": rarest,
    "half of a class, on one side": subclass,
    "marked rows with one label": marked,
    "20 rows much alike": cluster,
    "3 rows by lot": lambda p, r: by_lot(drawn(p, r), r, 3),
    "10 rows by lot": lambda p, r: by_lot(drawn(p, r), r, 10),
    "a network that learned little; 100 by lot": lambda p, r: by_lot(drawn(p, r), r),
    "another recipe than the Retrains'; 100 by lot": lambda p, r: by_lot(drawn(p, r), r),
}


def models_of(name: str, world: World, pool: Pool, generator: torch.Generator) -> dict[str, Nets]:
    """The Original, four Retrains, and a model that forgot one half of the rows."""
    forget, retain = (torch.nonzero(m).flatten() for m in (world.forget, ~world.forget))
    half = torch.cat([retain, forget[: len(forget) // 2]])
    members = [torch.arange(len(world.y)), *4 * [retain], half]
    steps = max(20, pool.epochs * len(world.y) // BATCH)
    fresh = Nets.fresh(6, world.x.shape[1], 10, generator)
    nets = fit(fresh, world.x, world.y, members, generator=generator, steps=steps)
    result = {"Original": nets.pick(0), "forgets half": nets.pick(5)}
    retrains = Nets([w[1:5] for w in nets.weights])
    if name.startswith("another recipe"):
        other = Nets.fresh(1, world.x.shape[1], 10, generator)
        slow = {"steps": steps * 3 // 2, "rate": 0.05}
        other = fit(other, world.x, world.y, [retain], generator=generator, **slow)
        retrains = Nets.join([other, retrains.pick(1), retrains.pick(2), retrains.pick(3)])
    return {**result, "Retrain": retrains}


def audits(
    name: str, models: dict[str, list[Subject]]
) -> Iterator[tuple[str, Subject, list[Subject]]]:
    """Which model is audited against which Retrains; the four take turns."""
    retrains = models["Retrain"]
    for count in RETRAINS:
        # Only the first one has another recipe. With three, the four audits share their models.
        turns = 1 if count == 3 or name.startswith("another recipe") else 4 // (count + 1)
        for first in range(turns):
            start = first * (count + 1)
            yield "Retrain", retrains[start], retrains[start + 1 : start + 1 + count]
        for other in ("Original", "forgets half"):
            yield other, models[other][0], retrains[1 : 1 + count]


def one_world(pool: Pool, name: str, seed: int) -> list[dict[str, Any]]:
    """The words of all audits of one draw."""
    rng = np.random.default_rng([seed, sum(map(ord, pool.name + name))])
    pool = replace(pool, epochs=2) if name.startswith("a network that learned little") else pool
    world = REQUESTS[name](pool, rng)
    nets = models_of(name, world, pool, torch.Generator().manual_seed(int(rng.integers(2**31))))
    half = torch.from_numpy(rng.permutation(int(world.forget.sum())))
    half = half[: len(half) // 2].sort().values
    models = {label: audit.subjects(world, each, label, half) for label, each in nets.items()}
    parts, by_rows = parts_of(world), audit.rows_drift(world)
    found = {"parts": parts, "owners": None}
    return [
        audit.one_audit(label, model, exact, found, by_rows, seed)
        for label, model, exact in audits(name, models)
    ]


def parts_of(world: World) -> RequestParts:
    """The request's parts, without rows that have an exact copy among the retained ones."""
    rows = {x.numpy().tobytes() for x in world.x[~world.forget]}
    copied = np.array([x.numpy().tobytes() in rows for x in world.x[world.forget]])
    return without_copies(audit.parts_of(world), copied)


def table(cells: dict[tuple[str, str, int], Counter[str]], model: str) -> list[str]:
    """Accusations and cleared models out of the number of audits, by request."""
    lines = ["| request | " + " | ".join(f"R = {r}" for r in RETRAINS) + " |"]
    lines.append("|---" * (1 + len(RETRAINS)) + "|")
    for name in REQUESTS:
        row = []
        for count in RETRAINS:
            words = cells.get((name, model, count), Counter())
            accused, total = sum(words[w] for w in ACCUSING), sum(words.values())
            mark = " **!**" if model == "Retrain" and accused > limit(total, ALPHA) else ""
            row.append(f"{accused}/{total}{mark} ({sum(words[w] for w in CLEAR)} cleared)")
        lines.append(f"| {name} | " + " | ".join(row) + " |")
    return lines


def write(cells: dict[tuple[str, str, int], Counter[str]], command: str) -> None:
    """Write the counts, and put the tables between the marks of the page."""
    total = sum(sum(words.values()) for words in cells.values())
    made = f"Made on {datetime.date.today()} by `{command}`: {total:,} audits.\n"
    made += ", ".join(f"{k} {v}" for k, v in environment().items() if v) + "."
    rows = [
        {"request": n, "model": m, "retrains": r, **words} for (n, m, r), words in cells.items()
    ]
    write_text(RESULTS / "audit-data.json", to_json({"command": command, "audits": rows}))
    page = (RESULTS / "audit-data.md").read_text("utf-8")
    for mark, lines in {
        "made": [made],
        **{model: table(cells, model) for model in ("Retrain", "Original", "forgets half")},
    }.items():
        first, last = f"<!-- {mark} -->\n", f"<!-- end of {mark} -->"
        head, _, rest = page.partition(first)
        page = head + first + "\n".join(["", *lines, "", ""]) + last + rest.partition(last)[2]
    write_text(RESULTS / "audit-data.md", wrapped(page))


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="CIFAR-10, as for `coun train --data`; digits alone without")
    parser.add_argument("--first-seed", type=int, default=6200)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--data-seeds", type=int, default=3, help="Seeds of --data.")
    parser.add_argument("--cache", type=Path, default=Path("out/audit-data"))
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    audit.ALPHA = ALPHA
    rank_tests.DRAWS, top_rows.DRAWS, rank_tests.ENOUGH = 1_999, 4_999, 25
    cells: dict[tuple[str, str, int], Counter[str]] = {}
    for k in range(given.seeds):
        for pool_name, load in pools(given.data).items():
            if pool_name != "digits" and k >= given.data_seeds:
                continue
            for name in REQUESTS:
                path = given.cache / f"{pool_name} {name} {given.first_seed + k}.json"
                if not path.exists():
                    write_json(path, {"audits": one_world(load(), name, given.first_seed + k)})
                for row in read_json(path)["audits"]:
                    key = (name, row["model"], row["retrains"])
                    cells.setdefault(key, Counter())[row["word"]] += 1
        print(f"seed {given.first_seed + k}", flush=True)
    where = "--data hf:CIFAR-10 " if given.data else ""
    command = f"python benchmarks/audit_data.py {where}--first-seed {given.first_seed}"
    write(cells, f"{command} --seeds {given.seeds} --data-seeds {given.data_seeds}")


if __name__ == "__main__":
    main()
