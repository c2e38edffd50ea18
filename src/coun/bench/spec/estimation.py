"""An estimate of what a bench takes, made before it is started."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from coun.bench.spec.config import Config, Workload
from coun.bench.spec.experiment import (
    Compare,
    Ensemble,
    Evaluate,
    Experiment,
    Score,
    Semantics,
    Train,
    Unlearn,
    closure,
)
from coun.bench.spec.method_config import PreparationConfig
from coun.bench.spec.plan import make_plan
from coun.bench.spec.planned import Plan
from coun.bench.spec.reading import configured, load, with_selected_workloads
from coun.bench.spec.workload import MissingDataError, WorkloadInfo, data_spec
from coun.data import Data, from_arrays
from coun.engine.device import threads
from coun.errors import CounError
from coun.methods import find, without_contrast
from coun.metrics import Measurements
from coun.runs import Options, predictions, train
from coun.runs.cost import rows_per_epoch
from coun.runs.preparation import FOLD_EPOCHS
from coun.runs.recipes import recipe
from coun.trust import Trust

KINDS = {
    "train": "trainings",
    "score": "scores",
    "unlearn": "unlearnings",
    "evaluate": "measurements",
    "compare": "comparisons",
    "semantics": "semantics",
    "ensemble": "comparisons of all seeds",
}
AMOUNTS = ("experiments", "epochs", "flops", "seconds", "bytes")
RECORD_BYTES = 20_000  # size of a measurement or a score on disk
TIMED_FLOPS = 2e11  # operations of the training that is timed: seconds on one core
TIMED_STEPS = 4


@dataclass(frozen=True)
class Speed:
    """How fast this machine computes the experiments of one workload.

    Args:
        train, predict: floating-point operations per second; forward passes count once, and a
            training step three times.
        run: seconds that every training or unlearning takes besides its steps.
        measurement: seconds of the metrics and the attack of one measurement.
    """

    train: float
    predict: float
    run: float = 0.0
    measurement: float = 0.0

    def seconds(self, experiment: Experiment, flops: float) -> float:
        """The seconds of one experiment of *flops* operations."""
        if isinstance(experiment, Train | Unlearn):
            return flops / self.train + self.run
        fixed = 0.0 if isinstance(experiment, Score) else self.measurement
        return flops / self.predict + fixed


def estimate(
    config: str | Path,
    *,
    timed: bool = True,
    trust: Trust = False,
    only: Sequence[str] = (),
    tflops: float | None = None,
    tiny: bool = False,
    data_root: str | Path | None = None,
    say: Callable[[str], object] | None = None,
) -> dict[str, Any]:
    """Estimate the experiments, epochs, operations, seconds and bytes of a bench.

    The operations of a training follow from its recipe, and those of an unlearning from the rows
    of its epochs (`coun.runs.cost.rows_per_epoch`). A preparation counts once for all methods that
    share it. Anything else that a method computes (masks, importances) is counted as one such
    epoch. Seconds come from a short training of each model, a few predictions and one measurement
    of the size of the workload, with one experiment at a time.

    Args:
        config: a TOML file or the name of a shipped config. The data may be missing where the
            config has `expect`.
        timed: False leaves all seconds at 0.
        trust, only, tiny, data_root: as for `coun.bench.bench`. What `bench` would refuse is
            refused.
        tflops: seconds are those of a machine that computes so many 1e12 operations per second,
            in training and prediction alike; nothing is timed here.
        say: gets a line before each model is timed, which takes some seconds.

    Returns: `parts`, one for each workload and kind of experiment; `workloads` and `seeds`, the
        same summed by workload and by seed, where what seeds share counts for the first or last
        of them; their `total`; and `notes`.

    Raises: CounError for a config or a selection that is wrong.

    >>> estimate("demo", timed=False)["total"]["experiments"]
    42
    """
    if tflops is not None and not 0 < tflops < math.inf:
        raise CounError(f"tflops is {tflops}; expected a number above 0")
    parsed = with_selected_workloads(configured(load(config, trust=trust), tiny, data_root), only)
    plan = make_plan(parsed, allow_missing_data=True).only(only)
    speeds: dict[str, Speed | None] = {}
    for number, workload in enumerate(plan.config.workload, 1):
        if say is not None and timed and tflops is None:
            say(
                f"timing a few steps of {workload.model} on {workload.name} ({number} of "
                f"{len(plan.config.workload)}); --tflops N leaves this out"
            )
        speeds[workload.name] = _speed(plan, workload, timed, tflops)
    by_seed = _by_seed(plan)
    every = [experiment for experiments in by_seed.values() for experiment in experiments]
    parts: list[dict[str, Any]] = []
    for workload in plan.config.workload:
        experiments = [e for e in every if e.setting.name == workload.name]
        speed = speeds[workload.name]
        for kind, title in KINDS.items():
            if counted := [(e, 1) for e in experiments if e.kind == kind]:
                parts.append(
                    _part({"workload": workload.name, "kind": title}, counted, plan, speed)
                )
        if plan.config.tune and not plan.config.tune.frozen:
            parts.append(_tuning(plan.config, workload, speed))
    workloads = [
        _sum({"workload": w.name}, [part for part in parts if part["workload"] == w.name])
        for w in plan.config.workload
    ]
    seeds = [
        _sum(
            {"seed": seed},
            [
                _part({}, [(e, 1) for e in experiments if e.setting.name == name], plan, speed)
                for name, speed in speeds.items()
            ],
        )
        for seed, experiments in by_seed.items()
    ]
    total = _sum({"workload": "all", "kind": ""}, parts)
    return {
        "parts": parts,
        "workloads": workloads,
        "seeds": seeds,
        "total": total,
        "notes": _notes(plan, tflops),
    }


def _by_seed(plan: Plan) -> dict[int, list[Experiment]]:
    """The experiments of every seed; those that seeds share are in the list of the first."""
    counted: set[str] = set()
    by_seed = {}
    for seed in sorted({model.seed for model in plan.models}):
        experiments = closure(e for m in plan.models if m.seed == seed for e in m.measured)
        by_seed[seed] = [e for e in experiments if e.key not in counted]
        counted |= {e.key for e in experiments}
    last = [e for e in plan.experiments if e.key not in counted]
    if last:
        by_seed[max(by_seed)] += last
    return by_seed


def _sum(names: dict[str, Any], parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {**names, **{name: sum(part[name] for part in parts) for name in AMOUNTS}}


def _part(
    names: dict[str, Any],
    counted: Iterable[tuple[Experiment, int]],
    plan: Plan,
    speed: Speed | None,
) -> dict[str, Any]:
    """One line of the estimate, from experiments and how often each is done."""
    amounts = dict.fromkeys(AMOUNTS, 0.0)
    experiments = epochs = size = 0
    prepared = set()
    for experiment, times in counted:
        flops = _flops(experiment, plan)
        weights = plan.workloads[experiment.setting.name].weight_bytes
        is_model = experiment.kind in ("train", "unlearn")
        experiments += times
        epochs += times * _epochs(experiment)
        size += times * (weights if is_model else RECORD_BYTES)
        amounts["flops"] += times * flops
        amounts["seconds"] += times * speed.seconds(experiment, flops) if speed else 0.0
        if isinstance(experiment, Unlearn) and (how := experiment.preparation):
            place = (experiment.start.key, experiment.seed, how.folds, how.repeats)
            if place not in prepared:
                prepared.add(place)
                flops = _preparation_flops(experiment, how, plan)
                amounts["flops"] += flops
                amounts["seconds"] += flops / speed.train if speed else 0.0
    return {**names, **amounts, "experiments": experiments, "epochs": epochs, "bytes": size}


def _tuning(config: Config, workload: Workload, speed: Speed | None) -> dict[str, Any]:
    """What `[tune]` adds on one workload: its references, and *trials* candidates by method."""
    assert config.tune
    plan = make_plan(
        config.for_search(workload),
        allow_missing_data=True,
        seeds=config.tune.seeds,
        holdout=config.tune.holdout,
        methods=[m.model_copy(update={"vary": {}}) for m in config.method if m.search],
        floor=False,
    )
    trials = config.tune.trials
    subjects = [(e, getattr(e, "subject", e)) for e in plan.experiments]
    counted = [(e, trials if isinstance(subject, Unlearn) else 1) for e, subject in subjects]
    return _part({"workload": workload.name, "kind": "tuning"}, counted, plan, speed)


def _notes(plan: Plan, tflops: float | None) -> list[str]:
    separate = sum(len(closure(m.measured)) for m in plan.models)
    machine = f"{tflops:g} TFLOP per second" if tflops else "this machine"
    notes = [
        f"The tables have {len(plan.models)} models, made by {len(plan.experiments)} experiments. "
        f"Without sharing, they would need {separate}.",
        f"Times are an estimate for {machine}, with one experiment at a time.",
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
    if isinstance(experiment, Ensemble):
        models = sum(map(len, (experiment.subjects, experiment.retrains, experiment.originals)))
        return info.flops * info.train / 10 * models
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
    method = find(experiment.method, trust=True)
    rows = rows_per_epoch(
        method.reads,
        experiment.resolved,
        retain * (experiment.retain_access or 1.0),
        info.train * share,
        has_module=experiment.contrast is not None
        or without_contrast(experiment.method) != experiment.method,
        all_forget_rows=method.all_forget_rows,
    )
    return 3 * info.flops * rows * (_epochs(experiment) or 1)


def _preparation_flops(experiment: Unlearn, how: PreparationConfig, plan: Plan) -> float:
    info = plan.workloads[experiment.setting.name]
    epochs = max(1, round(FOLD_EPOCHS * float(experiment.setting.recipe["epochs"])))
    return 3 * info.flops * info.train * how.repeats * (how.folds - 1) * epochs


def _speed(plan: Plan, workload: Workload, timed: bool, tflops: float | None) -> Speed | None:
    """The speed that was stated, or that of this machine under the settings of the bench."""
    if tflops is not None:
        return Speed(1e12 * tflops, 1e12 * tflops)
    if not timed:
        return None
    settings, info = plan.config.compute, plan.workloads[workload.name]
    batch = int(recipe(workload.model, workload.train).settings()["batch_size"])
    rows = int(min(info.train, TIMED_STEPS * batch, max(8, TIMED_FLOPS / (3 * info.flops))))
    sample = _sample(plan.config, workload, info, rows)
    size = min(batch, max(2, rows // 2))
    settled = {**workload.train, "epochs": 1, "unaugmented_epochs": 0, "batch_size": size}
    options = Options(settings.device, info.precision, compile=settings.compile)  # type: ignore[arg-type]
    with threads(settings.threads), tempfile.TemporaryDirectory() as folder:
        warm = sample.train.take(torch.arange(min(4, rows)))
        train(replace(sample, train=warm), workload.model, options=options, **settled)
        start = time.perf_counter()
        run = train(sample, workload.model, out=Path(folder) / "run", options=options, **settled)
        whole = time.perf_counter() - start
        start = time.perf_counter()
        predictions(run.classifier, sample, None)
        predicted = time.perf_counter() - start
        start = time.perf_counter()
        _random_measurements(info).values_by_name()
        measured = time.perf_counter() - start
    cost = run.record.cost
    images = len(sample.train) + len(sample.test)
    return Speed(
        3 * info.flops * cost.trained_images / cost.seconds,
        info.flops * images / predicted,
        whole - cost.seconds,
        measured,
    )


def _sample(config: Config, workload: Workload, info: WorkloadInfo, rows: int) -> Data:
    """The first rows of the data, or random images of its shape where it is missing."""
    try:
        data = data_spec(config, workload).load()
    except MissingDataError:
        rng, classes = np.random.default_rng(0), len(info.classes)
        channels, *sides = info.shape
        images = rng.integers(0, 256, (rows, *sides, channels), dtype=np.uint8)
        labels = np.arange(rows) % classes
        names = list(map(str, range(classes)))
        return from_arrays(images, labels, images[:8], labels[:8], classes=names)
    train_rows = torch.arange(min(rows, len(data.train)))
    test_rows = torch.arange(min(8, len(data.test)))
    return replace(
        data, train=data.train.take(train_rows), test=data.test.take(test_rows), source=""
    )


def _random_measurements(info: WorkloadInfo) -> Measurements:
    """The metrics of a model that fits, of the size of the workload, to time one measurement."""
    generator = torch.Generator().manual_seed(0)
    forget = max(1, info.train // 10)
    size = min(info.train - forget, info.test)
    sizes = {"retain": info.train - forget, "forget": forget, "test": info.test}
    inputs: dict[str, torch.Tensor] = {}
    for part, count in {**sizes, "members": size, "others": size}.items():
        labels = torch.arange(count) % len(info.classes)
        logits = 2 * torch.randn(count, len(info.classes), generator=generator)
        logits[torch.arange(count), labels] += 6.0
        inputs |= {f"{part}.logits": logits, f"{part}.labels": labels}
    return Measurements(inputs)
