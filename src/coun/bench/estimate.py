"""What a bench would take, before it is started: an estimate, and it says so."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch

from coun.bench.config import Bed, Config
from coun.bench.experiment import Evaluate, Experiment, Score, Train, Unlearn, closure
from coun.bench.plan import Plan, make_plan
from coun.bench.reading import load
from coun.engine import Compute
from coun.methods import catalogue
from coun.models import build

KINDS = {
    "train": "trainings",
    "score": "scores",
    "unlearn": "unlearnings",
    "evaluate": "measurements",
}
RECORD = 20_000  # bytes that a measurement takes
PROBE = 16  # images of the timed step


def estimate(config: str | Path, *, timed: bool = True) -> dict[str, Any]:
    """Experiments, epochs, floating-point operations, seconds on this machine, and bytes.

    A training's operations follow from its recipe. An unlearning is taken as one sweep over
    the retain rows an epoch, with a second view where the module is on and a batch of forget
    rows where it reads them; what a plan computes besides (masks, importances) is one sweep.
    Seconds come from the fastest of three steps of each model, one experiment at a time.

    Args: timed: False leaves seconds at 0.
    """
    plan = make_plan(load(config), dry=True)
    parts: list[dict[str, Any]] = []
    for bed in plan.config.bed:
        mine = [one for one in plan.experiments if one.world.name == bed.name]
        rate = _rate(plan, bed.name, bed.model) if timed else 0.0
        for kind, title in KINDS.items():
            if some := [(one, 1) for one in mine if one.kind == kind]:
                parts.append(_part(bed.name, title, some, plan, rate))
        if plan.config.tune and not plan.config.tune.frozen:
            parts.append(_tuning(plan.config, bed, rate))
    keys = ("experiments", "epochs", "flops", "seconds", "bytes")
    total = {"bed": "all", "kind": "", **{key: sum(part[key] for part in parts) for key in keys}}
    return {"parts": parts, "total": total, "notes": _notes(plan)}


def _part(
    bed: str, kind: str, counted: list[tuple[Experiment, int]], plan: Plan, rate: float
) -> dict[str, Any]:
    """A line of the estimate: experiments, each with how many of them there are."""
    flops = sum(times * _flops(one, plan) for one, times in counted)
    weights = plan.facts[bed].weight_bytes
    size = {"train": weights, "unlearn": weights}
    return {
        "bed": bed,
        "kind": kind,
        "experiments": sum(times for _, times in counted),
        "epochs": sum(times * _epochs(one) for one, times in counted),
        "flops": flops,
        "seconds": flops / rate if rate else 0.0,
        "bytes": sum(times * size.get(one.kind, RECORD) for one, times in counted),
    }


def _tuning(config: Config, bed: Bed, rate: float) -> dict[str, Any]:
    """What `[tune]` adds on one bed: its Originals and Retrains once, candidates by the budget."""
    assert config.tune
    plan = make_plan(
        config.model_copy(update={"bed": (bed,)}),
        dry=True,
        seeds=config.tune.seeds,
        holdout=config.tune.holdout,
        methods=[one.model_copy(update={"vary": {}}) for one in config.method if one.search],
        floor=False,
    )
    counted = []
    for one in plan.experiments:
        tried = isinstance(one.subject if isinstance(one, Evaluate) else one, Unlearn)
        counted.append((one, config.tune.trials if tried else 1))
    return _part(bed.name, "tuning", counted, plan, rate)


def _notes(plan: Plan) -> list[str]:
    alone = sum(len(closure([entry.measured, entry.retrain])) for entry in plan.entries)
    found = [
        f"{len(plan.entries)} models in tables from {len(plan.experiments)} experiments; each on "
        f"its own would need {alone}.",
        "Times are of one experiment at a time on this machine, and an estimate.",
    ]
    absent = [name for name, facts in plan.facts.items() if not facts.fingerprint]
    if absent:
        found.append(f"Not at hand, planned from `expect`: {', '.join(absent)}.")
    return found


def _epochs(one: Experiment) -> int:
    if isinstance(one, Train):
        return int(one.world.recipe["epochs"])
    return int(one.resolved.get("epochs") or 0) if isinstance(one, Unlearn) else 0


def _flops(one: Experiment, plan: Plan) -> float:
    facts = plan.facts[one.world.name]
    if isinstance(one, Score):
        return facts.flops * facts.train * len(one.models)
    if isinstance(one, Evaluate):
        return facts.flops * (facts.train + facts.test)
    assert isinstance(one, Train | Unlearn)
    # Of a class, as if classes were of one size.
    share = one.cut.request.get("fraction", 1 / len(facts.classes)) if one.cut else 0.0
    retain = facts.train * (1 - share)
    if isinstance(one, Train):
        return 3 * facts.flops * retain * _epochs(one)
    reads, sweeps = catalogue()[one.method].reads, _epochs(one) or 1
    if "retain" not in reads:
        return 3 * facts.flops * facts.train * share * sweeps
    views = 1 + (one.contrast is not None or one.method == "coun") + ("forget" in reads)
    return 3 * facts.flops * retain * views * sweeps


def _rate(plan: Plan, bed: str, model: str) -> float:
    """Operations a second in a training step, as the bench would take it."""
    facts, settings = plan.facts[bed], plan.config.compute
    compute = Compute.choose(settings.device, facts.precision)  # type: ignore[arg-type]
    threads = torch.get_num_threads()
    torch.set_num_threads(settings.threads)
    try:
        net = build(model, classes=len(facts.classes), shape=facts.shape)
        compute.to_device(net)
        images = torch.randn(PROBE, *facts.shape, device=compute.device)
        times = []
        for _ in range(3):
            began = time.perf_counter()
            with compute.autocast():
                loss = net(images).float().logsumexp(1).sum()
            loss.backward()
            if compute.device.type == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - began)
    finally:
        torch.set_num_threads(threads)
    return 3 * facts.flops * PROBE / min(times)
