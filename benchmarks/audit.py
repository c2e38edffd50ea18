"""How often an audit errs: docs/results/audit.md and audit.json, made again by one command.

Each world draws rows and a forget request, trains an Original, six Retrains and models that
forgot badly, and audits them against no, one, two, three and five Retrains. What the models say
of the rows is kept under --cache, so that a changed rule of the verdict needs no new training.

    OMP_NUM_THREADS=1 python benchmarks/audit.py --data hf:PATH/cifar10 --seeds 20

The data is the digits of scikit-learn and, with --data, CIFAR-10 averaged down to 8 x 8 pixels.
"""

from __future__ import annotations

import argparse
import datetime
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from audit_models import (
    BATCH,
    RATE,
    RELEARN_RATE,
    RELEARN_STEPS,
    REQUESTS,
    Nets,
    Pool,
    World,
    fit,
    pools,
    predictions,
)
from scipy.stats import binom
from torch import Tensor
from torch.nn.functional import cross_entropy, log_softmax, softmax

from coun.attacks import scaled_logit
from coun.audit import rank_tests, top_rows
from coun.audit.drift import columns_drift
from coun.audit.parts import RequestParts
from coun.audit.rank_tests import Groups
from coun.audit.scores import RelearnedHalf, Subject
from coun.audit.verdict import CLEAR, WORDS, Gap, allowed_gap, judge
from coun.engine import environment
from coun.files import read_json, to_json, write_json, write_text
from coun.models import Outputs
from coun.runs import Predictions

RESULTS = Path(__file__).parents[1] / "docs" / "results"
ALPHA, MARGIN = 0.01, 2.0
RETRAINS = (0, 1, 2, 3, 5)
KEPT = (1, 3, 5, 10)


BAD = (
    "Retrain",
    "Original",
    "fine-tuned, lr 1e-6",
    "fine-tuned",
    "forgets half",
    *(f"keeps {k}" for k in KEPT),
    "distilled",
    "new head on old features",
    "uniform answers",
    "random labels",
    "NegGrad+, too far",
)


ALWAYS = ("Original", "fine-tuned, lr 1e-6")  # audited with every number of Retrains


def models_of(world: World, pool: Pool, seed: int) -> dict[str, Nets]:
    """Every model of a world, by name; the six Retrains are one batch."""
    generator = torch.Generator().manual_seed(seed)
    forget, retain = (torch.nonzero(m).flatten() for m in (world.forget, ~world.forget))
    forget = forget[torch.randperm(len(forget), generator=generator)]
    kept = {f"keeps {k}": k for k in KEPT if k < len(forget)}
    if len(forget) > 1:
        kept["forgets half"] = len(forget) // 2
    members = [torch.arange(len(world.y))] + 6 * [retain]
    members += [torch.cat([retain, forget[:k]]) for k in kept.values()]
    steps = max(60, pool.epochs * len(world.y) // BATCH)
    fresh = Nets.fresh(len(members), world.x.shape[1], 10, generator)
    nets = fit(fresh, world.x, world.y, members, generator=generator, steps=steps)
    found = {"Original": nets.pick(0), "Retrains": Nets([w[1:7] for w in nets.weights])}
    found |= {name: nets.pick(7 + k) for k, name in enumerate(kept)}
    found |= _unlearned(world, found["Original"], found["Retrains"].pick(5), generator)
    return found


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
    return {
        "fine-tuned, lr 1e-6": fit(original, x, y, [retain], rate=1e-6, **tune),
        "fine-tuned": fit(original, x, y, [retain], rate=RATE / 2, **tune),
        "distilled": fit(original, x, y, everything, rate=RATE / 5, loss=distil, **tune),
        "new head on old features": Nets(head),
        "random labels": fit(original, x, labels, everything, rate=RATE / 5, **tune),
        "NegGrad+, too far": fit(original, x, y, everything, rate=RATE / 5, loss=ascend, **tune),
    }


def subjects(world: World, nets: Nets, name: str, half: Tensor) -> list[Subject]:
    """The networks as an audit sees them, with their copies after relearning *half*."""
    forget = torch.nonzero(world.forget).flatten()
    other = np.setdiff1d(np.arange(len(forget)), half.numpy())
    count = len(nets.weights[0])
    copies: list[Predictions | None] = [None] * count
    if len(half) and len(other):
        again = fit(
            nets,
            world.x,
            world.y,
            count * [forget[half]],
            generator=torch.Generator().manual_seed(0),
            steps=RELEARN_STEPS,
            rate=RELEARN_RATE,
        )
        copies = list(predictions(again, world))
    made = []
    for k, seen in enumerate(predictions(nets, world)):
        copy, relearned = copies[k], None
        if copy is not None:
            odds = [
                scaled_logit(copy.outputs[p].logits, copy.labels[p]).clamp(-100, 100).numpy()
                for p in Groups._fields
            ]
            relearned = RelearnedHalf(other, Groups(odds[0][other], odds[1]))
        made.append(Subject(f"{name} {k}", seen, relearned=relearned))
    return made


def draw(pool: Pool, request: str, seed: int) -> tuple[World, np.random.Generator]:
    """The rows and the request of a world, and the generator that goes on from there."""
    rng = np.random.default_rng([seed, sum(map(ord, pool.name + request))])
    return REQUESTS[request](pool, rng), rng


def drift_of(pool: Pool, request: str, seed: int) -> float | None:
    """What an audit sees of the inputs without any model."""
    world, _ = draw(pool, request, seed)
    x, test_x = (
        torch.cat([x, x.std(1, keepdim=True), x.diff(dim=1).abs().mean(1, keepdim=True)], 1)
        for x in (world.x[~world.forget], world.test_x)
    )
    labels = world.y[~world.forget].numpy(), world.test_y.numpy()
    return columns_drift(x.double().numpy(), test_x.double().numpy(), *labels)


def everything_of(pool: Pool, request: str, seed: int, cache: Path) -> dict[str, Any]:
    """All subjects of a world and its parts, trained, or as an earlier call left them."""
    path = cache / "models" / f"{pool.name} {request} {seed}.pt"
    if path.exists():
        kept = torch.load(path, weights_only=False)
        return {**kept, "models": {n: [_thaw(s) for s in g] for n, g in kept["models"].items()}}
    world, rng = draw(pool, request, seed)
    nets = models_of(world, pool, int(rng.integers(2**31)))
    half = torch.from_numpy(rng.permutation(int(world.forget.sum())))
    half = half[: len(half) // 2]
    models = {name: subjects(world, n, name, half) for name, n in nets.items()}
    for name in ("Original", "Retrains"):  # answers that are blanked after the fact
        if name == "Retrains":
            blank = models[name][5].predictions
            outputs = dict(blank.outputs)
            silent = Outputs(0 * outputs["forget"].logits, outputs["forget"].features)
            outputs["forget"] = silent
            uniform = Subject("uniform", Predictions(outputs, blank.labels))
            uniform.relearned = models[name][5].relearned
            models["uniform answers"] = [uniform]
    labels = [world.y[m].numpy() for m in (world.forget, ~world.forget)]
    drawn = np.full(len(labels[0]), world.random)
    found = {"models": models, "parts": RequestParts.from_labels(*labels, drawn)}
    path.parent.mkdir(parents=True, exist_ok=True)
    frozen = {n: [_freeze(s) for s in group] for n, group in models.items()}
    torch.save({**found, "models": frozen}, path)
    return found


def _freeze(subject: Subject) -> tuple[Any, ...]:
    """What is kept of a model: logits, scores and the relearned copy, but no features."""
    logits = {part: out.logits for part, out in subject.predictions.outputs.items()}
    return subject.name, logits, subject.predictions.labels, subject.scores, subject.relearned


def _thaw(kept: tuple[Any, ...]) -> Subject:
    name, logits, labels, scores, relearned = kept
    outputs = {part: Outputs(x, torch.zeros(len(x), 1)) for part, x in logits.items()}
    subject = Subject(name, Predictions(outputs, labels), relearned=relearned)
    subject.__dict__["scores"] = scores
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


def world(pool: Pool, request: str, seed: int, cache: Path, columns: tuple[str, ...]) -> Any:
    """The words of all audits of one world; those of an earlier call are read."""
    path = cache / "audits" / f"{pool.name} {request} {seed}.json"
    earlier: dict[str, Any] = dict(read_json(path)) if path.exists() else {}
    rows: list[dict[str, Any]] = earlier.get("audits", [])
    missing = [name for name in columns if name not in earlier.get("columns", ())]
    if not missing:
        return [row for row in rows if row["model"] in columns]
    found = everything_of(pool, request, seed, cache)
    drift = drift_of(pool, request, seed)
    for name, model, exact in audits(found["models"]):
        if name in missing:
            rows.append(one_audit(name, model, exact, found["parts"], drift, seed))
    write_json(path, {"columns": [*earlier.get("columns", ()), *missing], "audits": rows})
    return rows


def one_audit(
    name: str,
    model: Subject,
    exact: list[Subject],
    parts: RequestParts,
    drift: float | None,
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
        parts,
        margin=MARGIN,
        alpha=ALPHA,
        gap=gap,
        input_drift=None if exact else drift,
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


ACCUSING = ("under-forgotten", "over-forgotten", "closer than the original", "different")
Cells = dict[tuple[str, str, int], Counter[str]]  # by request, model and number of Retrains


def limit(count: int) -> int:
    """The number of accusations of *count* that chance exceeds with at most 5% at alpha."""
    return int(binom.ppf(0.95, count, ALPHA))


def of_retrains(cells: Cells) -> list[str]:
    """The table of accusations of true Retrains, and whether each is within its limit."""
    lines = _head(["request", *(f"R = {r}" for r in RETRAINS)])
    for name in dict.fromkeys(request for request, *_ in cells):
        row = []
        for count in RETRAINS:
            words = cells.get((name, "Retrain", count), Counter())
            accused = sum(words[word] for word in ACCUSING)
            total = sum(words.values())
            mark = "" if accused <= limit(total) else " **!**"
            clear = sum(words[word] for word in CLEAR)
            row.append(f"{accused}/{total}{mark} ({clear} cleared)")
        lines.append(f"| {name} | " + " | ".join(row) + " |")
    return lines


def of_model(cells: Cells, model: str) -> list[str]:
    """The table of words for one model, by request and number of Retrains."""
    lines = _head(["request", *(f"R = {r}" for r in RETRAINS)])
    for name in dict.fromkeys(request for request, m, _ in cells if m == model):
        row = [_words(cells.get((name, model, count), Counter())) for count in RETRAINS]
        lines.append(f"| {name} | " + " | ".join(row) + " |")
    return lines


def of_bad_models(cells: Cells) -> list[str]:
    """The table of words for the models that forgot badly, over all requests of a kind."""
    sums: dict[tuple[str, str], Counter[str]] = {}
    for (name, model, count), words in cells.items():
        kind = name.partition(",")[0] if "5 rows" not in name and "1 rows" not in name else ""
        if model not in ("Retrain", *ALWAYS) and "keeps" not in model and count in (3, 5) and kind:
            sums.setdefault((model, kind), Counter()).update(words)
    kinds = list(dict.fromkeys(kind for _, kind in sums))
    models = list(dict.fromkeys(model for model, _ in sums))
    lines = _head(["request", *models])
    for kind in kinds:
        row = [_words(sums.get((model, kind), Counter())) for model in models]
        lines.append(f"| {kind} | " + " | ".join(row) + " |")
    return lines


def of_kept(cells: Cells) -> list[str]:
    """The table of how often a few kept rows are found."""
    lines = _head(["request", *(f"{k} rows kept" for k in KEPT)])
    for name in dict.fromkeys(request for request, model, _ in cells if model == "keeps 1"):
        row = []
        for k in KEPT:
            words: Counter[str] = sum(
                (cells.get((name, f"keeps {k}", r), Counter()) for r in (3, 5)), Counter()
            )
            row.append(f"{sum(words[w] for w in ACCUSING)}/{sum(words.values())}")
        lines.append(f"| {name} | " + " | ".join(row) + " |")
    return lines


def targets(cells: Cells) -> list[str]:
    """Whether the aims of the validation are met, as counts."""
    over = total = accused = audited = cleared = guilty = kept = tried = 0
    for (name, model, count), words in cells.items():
        number = sum(words.values())
        few = ", 5 rows" in name or ", 1 rows" in name
        if model == "Retrain":
            wrong = sum(words[word] for word in ACCUSING)
            over, total = over + (wrong > limit(number)), total + 1
            accused, audited = accused + wrong, audited + number
        elif model in ALWAYS and not few:
            cleared += sum(words[word] for word in CLEAR)
            guilty += number
        elif model == "keeps 5" and count == 5 and not few and "20 rows" not in name:
            kept += sum(words[word] for word in ACCUSING)
            tried += number
    return [
        *_head(["aim", "result"]),
        f"| accusations of true Retrains within the binomial limits of alpha in every cell | "
        f"{total - over} of {total} cells; {accused} of {audited:,} audits in all, limit "
        f"{limit(audited)} |",
        f"| an untouched Original, or one that fine-tuning left unchanged, is never cleared where "
        f"20 rows or more are forgotten | cleared {cleared} of {guilty:,} times |",
        f"| five kept rows are found with 80% power | {kept} of {tried}: not met |",
    ]


def _words(words: Counter[str]) -> str:
    return ", ".join(f"{words[word]} {word}" for word in WORDS if words[word])


def _head(columns: list[str]) -> list[str]:
    return ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]


def write(cells: Cells, command: str, out: Path) -> None:
    """The page and its numbers."""
    counts = [
        {"request": name, "model": model, "retrains": count, "words": words}
        for (name, model, count), words in cells.items()
    ]
    document = {
        "command": command,
        "date": datetime.date.today().isoformat(),
        "alpha": ALPHA,
        "margin": MARGIN,
        "environment": environment(),
        "counts": counts,
    }
    write_text(out, to_json(document) + "\n")
    text = PAGE.format(
        command=command,
        date=document["date"],
        machine=", ".join(f"{k} {v}" for k, v in document["environment"].items()),
        alpha=ALPHA,
        margin=MARGIN,
        audits=f"{sum(sum(w.values()) for w in cells.values()):,}",
        targets="\n".join(targets(cells)),
        retrains="\n".join(of_retrains(cells)),
        original="\n".join(of_model(cells, "Original")),
        unchanged="\n".join(of_model(cells, "fine-tuned, lr 1e-6")),
        kept="\n".join(of_kept(cells)),
        bad="\n".join(of_bad_models(cells)),
    )
    write_text(out.with_suffix(".md"), text)


PAGE = """# How often an audit errs

Made on {date} by `{command}`: {audits} audits at alpha {alpha} and a margin of {margin:g} points.
{machine}. Networks with one hidden layer, on the digits (400 training and 400 test rows) and, with
--data, on CIFAR-10 averaged down to 8 x 8 pixels (1,000 and 1,000 rows, 2,000 training rows for the
largest request); each seed draws other rows. R is the number of Retrains that the audit was given.
Counts are added up over data sets. [audit.json](audit.json) has every count.

## Aims

{targets}

The last aim is met only where remembered rows stand out: whole classes, whose rows no Retrain
answers, and mislabelled digits with five Retrains (see the last table). Five ordinary rows that a
network answers rightly without having seen them leave no trace above that of chance in these
networks. With three Retrains, five rows that are the most extreme of all models have an exact p of
1/4 to the power of 5, about 0.001, which is not below alpha / (number of tests); five Retrains give
0.0001. Canaries do not have this limit. The verdict says in each case how many rows would have been
found.

The test of single listed rows against those of Retrains was found invalid by this validation where
most rows are forgotten (3 of 24 true Retrains accused for "all but 40 rows"), and has since been
restricted to lists of at most a quarter of the retained rows. That row was then audited again.

Not validated here: `resnet8` networks, groups of customers, shadow models.

## True Retrains

Accusations (under-forgotten, over-forgotten, closer than the original, different) out of the number
of audits; in brackets how many were `equivalent` or `no difference found`. The rest is
`inconclusive`. A cell that exceeds the 95% binomial limit of alpha is marked **!**. With R = 0,
`different` says that the model remembers the rows or that they differ from test rows by nature.

{retrains}

## The untouched Original

It must never be `equivalent` or `no difference found` where 20 rows or more are forgotten.

{original}

## Fine-tuning that changes nothing (lr 1e-6)

{unchanged}

## Models that forgot badly, three or five Retrains

{bad}

## Models that keep a few of the rows

Found (any accusing word) out of the number of audits, with three or five Retrains.

{kept}
"""


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="CIFAR-10, as for `coun train --data`; digits alone without")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--bad-seeds", type=int, default=4, help="Seeds with all bad models.")
    parser.add_argument("--requests", nargs="*", default=list(REQUESTS), metavar="NAME")
    parser.add_argument("--cache", type=Path, default=Path("out/audit"))
    parser.add_argument("--out", type=Path, default=RESULTS / "audit.json")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rank_tests.DRAWS, top_rows.DRAWS = 1_999, 4_999  # enough for alpha, and faster
    sets = pools(given.data)
    cells: Cells = {}
    for seed in range(given.seeds):
        for request in given.requests:
            for pool in sets:
                columns = BAD if seed < given.bad_seeds else ("Retrain", "Original")
                for row in world(pool, request, seed, given.cache, columns):
                    key = (request, row["model"], row["retrains"])
                    cells.setdefault(key, Counter())[row["word"]] += 1
        done = f"seeds 0 to {seed}"
        print(done, flush=True)
        data = "--data hf:CIFAR-10 " if given.data else ""
        command = f"python benchmarks/audit.py {data}--seeds {seed + 1} --bad-seeds "
        write(cells, command + str(min(given.bad_seeds, seed + 1)), given.out)


if __name__ == "__main__":
    main()
