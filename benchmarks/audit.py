"""How often an audit errs: docs/results/audit.md and audit.json, made again by one command.

Each world draws rows and a forget request, trains an Original, six Retrains and models that
forgot badly, and audits them against no, one, two, three and five Retrains. What the models say
of the rows is kept under --cache, so that a changed rule of the verdict needs no new training.

    OMP_NUM_THREADS=1 python benchmarks/audit.py --data hf:PATH/cifar10 --seeds 7

The data is the digits of scikit-learn and, with --data, CIFAR-10 averaged down to 8 x 8 pixels.
With --network-seeds N, N worlds of `resnet8` on small CIFAR-10 pictures are audited as well, by
the library's own training and audit (audit_networks.py).
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from audit_altered import altered
from audit_models import (
    BATCH,
    RATE,
    RELEARN_RATE,
    REQUESTS,
    Nets,
    Pool,
    World,
    fit,
    nearby,
    pools,
    predictions,
    shadow_scores,
)
from audit_networks import NETWORK_REQUESTS, network_audits
from audit_page import (
    ACCUSING,
    ALPHA,
    ALWAYS,
    BAD,
    GUILTY,
    KEPT,
    MARGIN,
    RETRAINS,
    Cells,
    Draws,
    write,
)
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax, softmax

from coun.attacks import scaled_logit
from coun.audit import drift, rank_tests, top_rows
from coun.audit.parts import RequestParts
from coun.audit.rank_tests import Groups
from coun.audit.relearning import rescaling
from coun.audit.scores import CHECKPOINTS, RelearnedHalf, Subject
from coun.audit.verdict import Gap, allowed_gap, judge
from coun.files import read_json, write_json
from coun.models import Outputs
from coun.runs import Predictions

RESULTS = Path(__file__).parents[1] / "docs" / "results"


def models_of(world: World, pool: Pool, seed: int, every: bool) -> dict[str, Nets]:
    """The models of a world, by name; the six Retrains are one batch.

    Args: every: also make the models that forgot badly.
    """
    generator = torch.Generator().manual_seed(seed)
    forget, retain = (torch.nonzero(m).flatten() for m in (world.forget, ~world.forget))
    forget = forget[torch.randperm(len(forget), generator=generator)]
    kept = {f"keeps {k}": k for k in KEPT if every and k < len(forget)}
    if every and len(forget) > 1:
        kept["forgets half"] = len(forget) // 2
    members = [torch.arange(len(world.y))] + 6 * [retain]
    members += [torch.cat([retain, forget[:k]]) for k in kept.values()]
    steps = max(60, pool.epochs * len(world.y) // BATCH)
    fresh = Nets.fresh(len(members), world.x.shape[1], 10, generator)
    nets = fit(fresh, world.x, world.y, members, generator=generator, steps=steps)
    result = {"Original": nets.pick(0), "Retrains": Nets([w[1:7] for w in nets.weights])}
    result |= {name: nets.pick(7 + k) for k, name in enumerate(kept)}
    if every:
        result |= _unlearned(world, result["Original"], result["Retrains"].pick(5), generator)
    else:
        result |= _unchanged(world, result["Original"], generator)
    return result


def _unchanged(world: World, original: Nets, generator: torch.Generator) -> dict[str, Nets]:
    retain = [torch.nonzero(~world.forget).flatten()]
    tune: dict[str, Any] = {"generator": generator, "steps": 100, "rate": 1e-6}
    return {"fine-tuned, lr 1e-6": fit(original, world.x, world.y, retain, **tune)}


def _unlearned(
    world: World, original: Nets, retrain: Nets, generator: torch.Generator
) -> dict[str, Nets]:
    """Models made from the Original; *retrain* is the teacher of two of them."""
    forget, retain = (torch.nonzero(m).flatten() for m in (world.forget, ~world.forget))
    everything = [torch.arange(len(world.y))]
    teacher = original.logits(world.x)[0]
    teacher[forget] = retrain.logits(world.x[forget])[0]
    soft = softmax(teacher, 1)
    labels = world.y.clone()
    labels[forget] = torch.randint(10, (len(forget),), generator=generator)

    def distil(model: Nets, x: Tensor, rows: Tensor) -> Tensor:
        return -(soft[rows] * log_softmax(model.logits(x), 2)).sum(2).mean()

    def ascend(model: Nets, x: Tensor, rows: Tensor) -> Tensor:
        losses = cross_entropy(model.logits(x)[0], world.y[rows[0]], reduction="none").clamp(max=8)
        gone = world.forget[rows[0]]
        return losses[~gone].sum() / BATCH - 2 * losses[gone].sum() / BATCH

    tune: dict[str, Any] = {"generator": generator, "steps": 100}
    x, y = world.x, world.y
    head = [w.clone() for w in original.weights]
    features = torch.cat([original.features(x)[0], torch.ones(len(x), 1)], 1)
    target = retrain.logits(x)[0]
    solved = torch.linalg.lstsq(features.double(), target.double(), driver="gelsd").solution
    head[2], head[3] = solved[None, :-1].float(), solved[None, -1:].float()
    noise = [w + w.std() / 3 * torch.randn(w.shape, generator=generator) for w in original.weights]
    return {
        **_unchanged(world, original, generator),
        "fine-tuned": fit(original, x, y, [retain], rate=RATE / 2, **tune),
        "distilled": fit(original, x, y, everything, rate=RATE / 5, loss=distil, **tune),
        "new head on old features": Nets(head),
        "noise on the weights": Nets(noise),
        "random labels": fit(original, x, labels, everything, rate=RATE / 5, **tune),
        "NegGrad+, too far": fit(original, x, y, everything, rate=RATE / 5, loss=ascend, **tune),
    }


def subjects(
    world: World, nets: Nets, name: str, half: Tensor, retrains: list[Subject]
) -> list[Subject]:
    """The networks as an audit sees them, with their copies after relearning either half.

    Logits are brought to the spread of all *retrains* for it, where an audit takes those it has.
    """
    beside = nearby(nets, world)
    attacks = shadow_scores(nets, world)
    result = [Subject(f"{name} {k}", each) for k, each in enumerate(predictions(nets, world))]
    scales = torch.tensor(rescaling(result, retrains or result)).reshape(-1, 1, 1).float()
    first, bias, last, last_bias = nets.weights
    copies = relearned(world, Nets([first, bias, last * scales, last_bias * scales]), half)
    for k, subject in enumerate(result):
        subject.relearned = copies[k] if copies else None
        subject.optional = {"nearby": beside[k], **{n: each[k] for n, each in attacks.items()}}
        if world.canaries is not None:
            x, y, member = world.canaries
            odds = scaled_logit(nets.logits(x)[k], y).clamp(-100, 100)
            subject.canaries = odds.double().numpy(), member.double().numpy()
    return result


def relearned(world: World, nets: Nets, half: Tensor) -> list[RelearnedHalf]:
    """What `relearn_half` gives for each network; empty for a single forgotten row."""
    forget = torch.nonzero(world.forget).flatten()
    other = torch.from_numpy(np.setdiff1d(np.arange(len(forget)), half.numpy()))
    if not (len(half) and len(other)):
        return []
    count = len(nets.weights[0])
    right = np.zeros((count, len(forget)))
    odds: list[Groups] = []
    for rows, measured in ((half, other), (other, half)):
        copy = nets
        for before, checkpoint in pairwise((0, *CHECKPOINTS)):
            copy = fit(
                copy,
                world.x,
                world.y,
                count * [forget[rows]],
                generator=torch.Generator().manual_seed(checkpoint),
                steps=checkpoint - before,
                rate=RELEARN_RATE,
            )
            logits = copy.logits(world.x[forget[measured]])
            hits = logits.argmax(2) == world.y[forget[measured]]
            right[:, measured.numpy()] += 100.0 / len(CHECKPOINTS) * hits.numpy()
        odds = odds or [
            Groups(*(scaled_logit(o.logits, y).clamp(-100, 100).double().numpy() for o, y in each))
            for each in (
                [(p.outputs[part], p.labels[part]) for part in Groups._fields]
                for p in predictions(copy, world)
            )
        ]
    slots = other.numpy()
    return [
        RelearnedHalf(slots, Groups(each.forget[slots], each.test), right[k])
        for k, each in enumerate(odds)
    ]


def draw(pool: Pool, request: str, seed: int) -> tuple[World, np.random.Generator]:
    """The rows and the request of a world, and the generator that goes on from there."""
    rng = np.random.default_rng([seed, sum(map(ord, pool.name + request))])
    return REQUESTS[request](pool, rng), rng


def rows_drift(world: World) -> float | None:
    """What an audit sees of the rows without any model."""
    forget, retain = world.forget, ~world.forget
    rows = {
        "retain": (world.x[retain], world.y[retain]),
        "forget": (world.x[forget], world.y[forget]),
        "test": (world.test_x, world.test_y),
    }
    columns = {
        name: torch.cat(
            [x, x.std(1, keepdim=True), x.diff(dim=1).abs().mean(1, keepdim=True)], 1
        ).double()
        for name, (x, _) in rows.items()
    }
    inputs = {name: x.numpy() for name, x in columns.items()}
    return drift.drift_of(inputs, {name: y.numpy() for name, (_, y) in rows.items()})


def everything_of(pool: Pool, request: str, seed: int, cache: Path, every: bool) -> dict[str, Any]:
    """The subjects of a world and its parts, trained, or as an earlier call left them."""
    path = cache / "models" / f"{pool.name} {request} {seed} {'all' if every else 'some'}.pt"
    if path.exists():
        stored = torch.load(path, weights_only=False)
        return {**stored, "models": {n: [_thaw(s) for s in g] for n, g in stored["models"].items()}}
    world, rng = draw(pool, request, seed)
    nets = models_of(world, pool, int(rng.integers(2**31)), every)
    half = torch.from_numpy(rng.permutation(int(world.forget.sum())))
    half = half[: len(half) // 2].sort().values
    exact = subjects(world, nets.pop("Retrains"), "Retrains", half, [])
    models = {name: subjects(world, n, name, half, exact) for name, n in nets.items()}
    models["Retrains"] = exact
    if every:
        models |= altered(models["Original"][0], models["Retrains"][5])
    result = {"models": models, "parts": parts_of(world), "owners": world.owners}
    path.parent.mkdir(parents=True, exist_ok=True)
    frozen = {n: [_freeze(s) for s in group] for n, group in models.items()}
    torch.save({**result, "models": frozen}, path)
    return result


def parts_of(world: World) -> RequestParts:
    """The request's parts; canaries have a test of their own."""
    labels = [world.y[m].numpy() for m in (world.forget, ~world.forget)]
    if world.canaries is not None:
        labels[0] = labels[0][: len(labels[0]) - int(world.canaries[2].sum())]
    return RequestParts.from_labels(*labels, np.full(len(labels[0]), world.random))


def _freeze(subject: Subject) -> dict[str, Any]:
    """What is kept of a model: all but its features."""
    logits = {part: out.logits for part, out in subject.predictions.outputs.items()}
    names = ("name", "scores", "relearned", "canaries")
    return {
        "logits": logits,
        "labels": subject.predictions.labels,
        **{name: getattr(subject, name) for name in names},
    }


def _thaw(stored: dict[str, Any]) -> Subject:
    outputs = {part: Outputs(x, torch.zeros(len(x), 1)) for part, x in stored["logits"].items()}
    subject = Subject(stored["name"], Predictions(outputs, stored["labels"]))
    subject.relearned, subject.canaries = stored["relearned"], stored["canaries"]
    subject.__dict__["scores"] = stored["scores"]
    return subject


def audits(models: dict[str, list[Subject]]) -> Iterator[tuple[str, Subject, list[Subject]]]:
    """Which model is audited against which Retrains; true Retrains are in disjoint sets."""
    retrains = models["Retrains"]
    for count in RETRAINS:
        for first in range(0, 6 - count, count + 1):
            yield "Retrain", retrains[first], retrains[first + 1 : first + 1 + count]
        for name, group in models.items():
            # The last Retrain is the teacher of some models, so it is not held against them.
            if name in ALWAYS or (name != "Retrains" and count in (3, 5)):
                yield name, group[0], retrains[:count]


def accuracy_gap(model: Subject, retrains: list[Subject]) -> float:
    """Mean distance in retain, forget and test accuracy, points."""

    def right(s: Subject) -> np.ndarray:
        parts = ("retain", "forget", "test")
        return np.array(
            [100 * float((s.logits(p).argmax(1) == s.labels(p)).double().mean()) for p in parts]
        )

    return float(np.mean([np.abs(right(model) - right(r)).mean() for r in retrains]))


def world(
    pool_name: str,
    load: Callable[[], Pool],
    request: str,
    seed: int,
    cache: Path,
    columns: tuple[str, ...],
) -> list[dict[str, Any]]:
    """The words of all audits of one world; those of an earlier call are read."""
    path = cache / "audits" / f"{pool_name} {request} {seed}.json"
    earlier: dict[str, Any] = dict(read_json(path)) if path.exists() else {}
    rows: list[dict[str, Any]] = earlier.get("audits", [])
    missing = [name for name in columns if name not in earlier.get("columns", ())]
    if not missing:
        return [row for row in rows if row["model"] in columns]
    pool = load()
    every = any(column in GUILTY for column in columns)
    computed = everything_of(pool, request, seed, cache, every)
    by_rows = rows_drift(draw(pool, request, seed)[0])
    for name, model, exact in audits(computed["models"]):
        if name in missing:
            rows.append(one_audit(name, model, exact, computed, by_rows, seed))
    write_json(path, {"columns": [*earlier.get("columns", ()), *missing], "audits": rows})
    return rows


def one_audit(
    name: str,
    model: Subject,
    exact: list[Subject],
    everything: dict[str, Any],
    by_rows: float | None,
    seed: int,
) -> dict[str, Any]:
    """The word for one model, and the numbers behind it."""
    gap = None
    if exact:
        pairs = [accuracy_gap(a, [b]) for i, a in enumerate(exact) for b in exact[:i]]
        floor = float(np.mean(pairs)) if pairs else None
        allowed = allowed_gap(floor, MARGIN, len(model.labels("forget")))
        gap = Gap(accuracy_gap(model, exact), floor, allowed)
    start = time.perf_counter()
    verdict, family, _ = judge(
        [model],
        exact,
        everything["parts"],
        margin=MARGIN,
        alpha=ALPHA,
        gap=gap,
        owners=everything["owners"],
        input_drift=by_rows,
        seed=seed,
    )
    return {
        "model": name,
        "retrains": len(exact),
        "word": verdict.label,
        "reasons": verdict.reasons,
        "detectable": verdict.detectable,
        "drift": family.drift,
        "p": {f"{e.part} {e.name}": e.holm for e in family.tests},
        "gap": gap and gap.points,
        "seconds": time.perf_counter() - start,
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="CIFAR-10, as for `coun train --data`; digits alone without")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=7)
    parser.add_argument("--data-seeds", type=int, help="Seeds of --data.  [default: --seeds]")
    parser.add_argument("--bad-seeds", type=int, default=4, help="Seeds with all bad models.")
    parser.add_argument("--network-seeds", type=int, default=0, help="Seeds of resnet8.")
    parser.add_argument(
        "--requests", nargs="*", default=[*REQUESTS, *NETWORK_REQUESTS], metavar="NAME"
    )
    parser.add_argument("--cache", type=Path, default=Path("out/audit"))
    parser.add_argument("--out", type=Path, default=RESULTS / "audit.json")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rank_tests.DRAWS, top_rows.DRAWS = 1_999, 4_999  # enough for alpha, and faster
    rank_tests.ENOUGH = 25
    sets = pools(given.data)
    data_seeds = given.seeds if given.data_seeds is None else given.data_seeds
    cells: Cells = {}
    draws: Draws = {}
    for k in range(max(given.seeds, given.network_seeds)):
        seed = given.first_seed + k
        for name in given.requests:
            worlds: dict[str, list[dict[str, Any]]] = {}
            if name in REQUESTS and k < given.seeds:
                columns = BAD if k < given.bad_seeds else ("Retrain", *ALWAYS)
                for pool, load in sets.items():
                    if pool == "digits" or k < data_seeds:
                        worlds[pool] = world(pool, load, name, seed, given.cache, columns)
            elif name in NETWORK_REQUESTS and k < given.network_seeds:
                worlds["resnet8"] = network_audits(given.data, name, seed, given.cache)
            for pool, rows in worlds.items():
                for row in rows:
                    key = (name, row["model"], row["retrains"])
                    cells.setdefault(key, Counter())[row["word"]] += 1
                    if row["model"] == "Retrain" and row["word"] in ACCUSING:
                        drawn = draws.setdefault((name, row["retrains"]), Counter())
                        drawn[f"{pool}, seed {seed}"] += 1
        print(f"seeds {given.first_seed} to {seed}", flush=True)
        write(cells, draws, _command(given, k + 1), given.out)


def _command(given: argparse.Namespace, done: int) -> str:
    """The command that gives what is finished."""
    words = ["python benchmarks/audit.py", "--data hf:CIFAR-10" if given.data else ""]
    words += [f"--first-seed {given.first_seed}", f"--seeds {min(given.seeds, done)}"]
    if given.data_seeds is not None:
        words.append(f"--data-seeds {min(given.data_seeds, done)}")
    words.append(f"--bad-seeds {min(given.bad_seeds, done)}")
    if given.network_seeds:
        words.append(f"--network-seeds {min(given.network_seeds, done)}")
    return " ".join(filter(None, words))


if __name__ == "__main__":
    main()
