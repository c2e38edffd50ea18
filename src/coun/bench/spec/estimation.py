"""An estimate of what a bench takes, made before it is started."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from coun.bench.spec.config import Config, Workload
from coun.bench.spec.experiment import (
    Compare,
    Evaluate,
    Experiment,
    Score,
    Semantics,
    Train,
    Unlearn,
    closure,
)
from coun.bench.spec.plan import Plan, make_plan
from coun.bench.spec.reading import load
from coun.engine import Compute
from coun.methods import find, without_contrast
from coun.models import build
from coun.trust import Trust

KINDS = {
    "train": "trainings",
    "score": "scores",
    "unlearn": "unlearnings",
    "evaluate": "measurements",
    "compare": "comparisons",
    "semantics": "semantics",
}
AMOUNTS = ("experiments", "epochs", "flops", "seconds", "bytes")
RECORD_BYTES = 20_000  # size of a measurement or a score on disk
TIMED_IMAGES = 16  # images of the step that is timed


def estimate(config: str | Path, *, timed: bool = True, trust: Trust = False) -> dict[str, Any]:
    """Estimate the experiments, epochs, operations, seconds and bytes of a bench.

    The operations of a training follow from its recipe. An unlearning is counted as one
    forward and backward pass over the retain rows per epoch, with a second view where the
    contrastive module is on, and with one forget batch per retain batch where the method reads
    forget rows. Anything else that a method computes (masks, importances) is counted as one
    such epoch. Seconds come from the fastest of three training steps of each model, with one
    experiment at a time.

    Args:
        config: a TOML file or the name of a shipped config. The data may be missing where the
            config has `expect`.
        timed: False leaves all seconds at 0.
        trust: run the code that the config names, see `coun.bench.bench`.

    Returns: `parts`, one for each workload and kind of experiment, their `total`, and `notes`.

    >>> estimate("demo", timed=False)["total"]["experiments"]
    42
    """
    plan = make_plan(load(config, trust=trust), allow_missing_data=True)
    parts: list[dict[str, Any]] = []
    for workload in plan.config.workload:
        experiments = [e for e in plan.experiments if e.setting.name == workload.name]
        speed = _flops_per_second(plan, workload) if timed else 0.0
        for kind, title in KINDS.items():
            if counted := [(e, 1) for e in experiments if e.kind == kind]:
                parts.append(_part(workload.name, title, counted, plan, speed))
        if plan.config.tune and not plan.config.tune.frozen:
            parts.append(_tuning(plan.config, workload, speed))
    total = {
        "workload": "all",
        "kind": "",
        **{name: sum(part[name] for part in parts) for name in AMOUNTS},
    }
    return {"parts": parts, "total": total, "notes": _notes(plan)}


def _part(
    workload: str, kind: str, counted: Iterable[tuple[Experiment, int]], plan: Plan, speed: float
) -> dict[str, Any]:
    """One line of the estimate, from experiments and how often each is done."""
    counted = list(counted)
    flops = sum(times * _flops(e, plan) for e, times in counted)
    weights = plan.workloads[workload].weight_bytes
    size = {"train": weights, "unlearn": weights}
    return {
        "workload": workload,
        "kind": kind,
        "experiments": sum(times for _, times in counted),
        "epochs": sum(times * _epochs(e) for e, times in counted),
        "flops": flops,
        "seconds": flops / speed if speed else 0.0,
        "bytes": sum(times * size.get(e.kind, RECORD_BYTES) for e, times in counted),
    }


def _tuning(config: Config, workload: Workload, speed: float) -> dict[str, Any]:
    """What `[tune]` adds on one workload: its references, and *trials* candidates by method."""
    assert config.tune
    plan = make_plan(
        config.model_copy(update={"workload": (workload,)}),
        allow_missing_data=True,
        seeds=config.tune.seeds,
        holdout=config.tune.holdout,
        methods=[m.model_copy(update={"vary": {}}) for m in config.method if m.search],
        floor=False,
    )
    trials = config.tune.trials
    subjects = [
        (e, e.subject if isinstance(e, Evaluate | Compare | Semantics) else e)
        for e in plan.experiments
    ]
    counted = [(e, trials if isinstance(subject, Unlearn) else 1) for e, subject in subjects]
    return _part(workload.name, "tuning", counted, plan, speed)


def _notes(plan: Plan) -> list[str]:
    separate = sum(len(closure(m.measured)) for m in plan.models)
    notes = [
        f"The tables have {len(plan.models)} models, made by {len(plan.experiments)} experiments. "
        f"Without sharing, they would need {separate}.",
        "Times are an estimate for this machine, with one experiment at a time.",
    ]
    missing = [name for name, info in plan.workloads.items() if not info.fingerprint]
    if missing:
        notes.append(f"Data not found, planned from `expect`: {', '.join(missing)}.")
    return notes


def _epochs(experiment: Experiment) -> int:
    if isinstance(experiment, Train):
        return int(experiment.setting.recipe["epochs"])
    return int(experiment.resolved.get("epochs") or 0) if isinstance(experiment, Unlearn) else 0


def _flops(experiment: Experiment, plan: Plan) -> float:
    info = plan.workloads[experiment.setting.name]
    if isinstance(experiment, Score):
        return info.flops * info.train * len(experiment.models)
    if isinstance(experiment, Evaluate | Compare | Semantics):
        models = 1 + isinstance(experiment, Compare)
        return info.flops * (info.train + info.test) * models
    assert isinstance(experiment, Train | Unlearn)
    # A request for a class is counted as if all classes had the same size.
    forget = experiment.forget
    share = getattr(forget.request, "fraction", 1 / len(info.classes)) if forget else 0.0
    retain = info.train * (1 - share)
    if isinstance(experiment, Train):
        return 3 * info.flops * retain * _epochs(experiment)
    reads, epochs = find(experiment.method, trust=True).reads, _epochs(experiment) or 1
    if "retain" not in reads:
        return 3 * info.flops * info.train * share * epochs
    plain = without_contrast(experiment.method)
    has_module = experiment.contrast is not None or plain != experiment.method
    return 3 * info.flops * retain * (1 + has_module + ("forget" in reads)) * epochs


def _flops_per_second(plan: Plan, workload: Workload) -> float:
    """Measure the speed of a training step under the compute settings of the bench."""
    info, settings = plan.workloads[workload.name], plan.config.compute
    compute = Compute.choose(settings.device, info.precision)  # type: ignore[arg-type]
    threads = torch.get_num_threads()
    torch.set_num_threads(settings.threads)
    try:
        model = build(workload.model, classes=len(info.classes), shape=info.shape, trust=True)
        compute.to_device(model)
        images = torch.randn(TIMED_IMAGES, *info.shape, device=compute.device)
        times = []
        for _ in range(3):
            start = time.perf_counter()
            with compute.autocast():
                loss = model(images).float().logsumexp(1).sum()
            loss.backward()
            if compute.device.type == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - start)
    finally:
        torch.set_num_threads(threads)
    return 3 * info.flops * TIMED_IMAGES / min(times)
