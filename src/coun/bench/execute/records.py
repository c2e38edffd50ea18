"""From the store to one record for each model and seed: its metrics, gaps and costs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from coun.bench.execute.store import Store
from coun.bench.spec.experiment import Train, Unlearn
from coun.bench.spec.planned import Plan, PlannedModel
from coun.metrics import GAP_METRICS

COSTS = (
    "flops",
    "paper_flops",
    "seconds",
    "preparation_flops",
    "preparation_seconds",
    "peak_memory_mib",
    "bytes_sent",
)
# Costs relative to those of Retrain.
RATIOS = ("flops_ratio", "paper_flops_ratio", "seconds_ratio", "preparation_flops_ratio")


def collect(plan: Plan, store: Store) -> list[dict[str, Any]]:
    """Make a record for every model of *plan* that is finished, in the plan's order.

    `gap` is the mean distance to the same seed's Retrain over the metrics of the bench, in
    points; `gap_METRIC` is the signed difference in one metric. Further metrics have one where a
    method is measured on a part of the test rows, and Retrain beside it on the same. Costs of a
    sequential request are those of all its stages so far.

    Raises: CounError that names a damaged file of the store.
    """
    return [_record(plan, model, store) for model in plan.models if _finished(model, store)]


def collect_ensembles(plan: Plan, store: Store) -> list[dict[str, Any]]:
    """Make a record for every row of which the models of all seeds were compared.

    `metrics` are values by name, None where there are too few models; `rows` the vulnerable rows
    and what the attack tells of each, where it was asked for.
    """
    return [
        {
            "workload": planned.workload,
            "scenario": planned.scenario,
            "stage": planned.stage,
            "row": planned.row,
            "models": len(planned.experiment.subjects),
            **store.result(planned.experiment),
        }
        for planned in plan.ensembles
        if store.has(planned.experiment)
    ]


def _finished(model: PlannedModel, store: Store) -> bool:
    experiments = (*model.measured, model.retrain.subject, *_stages(model.experiment))
    return all(map(store.has, experiments))


def _stages(experiment: Train | Unlearn) -> list[Train | Unlearn]:
    """The experiment, and those of the earlier stages of a sequential request before it."""
    stages = [experiment]
    while isinstance(experiment, Unlearn) and experiment.earlier is not None:
        experiment = experiment.start
        stages.append(experiment)
    return stages


def _record(plan: Plan, model: PlannedModel, store: Store) -> dict[str, Any]:
    measured, retrain = store.result(model.evaluation), store.result(model.retrain)
    record: dict[str, Any] = {
        "workload": model.workload,
        "scenario": model.scenario,
        "stage": model.stage,
        "row": model.row,
        "base": model.base,
        "role": model.role,
        "method": model.method,
        "reads_forget": "forget" in model.reads,
        "module": model.module,
        "varied": model.varied,
        "settings": model.settings,
        "seed": model.seed,
    }
    optional = ("forgotten_class_test_accuracy",)
    record |= {name: measured[name] for name in (*GAP_METRICS, *optional) if name in measured}
    further = store.result(model.comparison) if model.comparison else {"metrics": {}}
    record |= further["metrics"]
    if model.semantics:
        record["semantics"] = store.result(model.semantics)
    # Stores of earlier versions do not have what Retrain has on the same rows.
    for name, value in further.get("of_retrain", {}).items():
        if isinstance(value, int | float) and record[name] is not None:
            record[f"gap_{name}"] = record[name] - value
    gaps = {m: measured[m] - retrain[m] for m in plan.config.metrics if m in GAP_METRICS}
    record |= {f"gap_{name}": gap for name, gap in gaps.items()}
    record["gap"] = sum(map(abs, gaps.values())) / len(gaps)
    cost = _cost(model.experiment, plan, store)
    retrain_cost = _cost(model.retrain.subject, plan, store)
    record |= cost
    for ratio in RATIOS:
        name = ratio.removesuffix("_ratio")
        whole = retrain_cost[name.removeprefix("preparation_")]
        record[ratio] = cost[name] / whole if whole else None
    return record | {"model": model.experiment.key, "measured": model.evaluation.key}


def _cost(experiment: Train | Unlearn, plan: Plan, store: Store) -> dict[str, float]:
    """Cost of an unlearning over all its stages, or of a training; without the Original's.

    `preparation_flops` and `preparation_seconds` were spent before the request and are part of
    no other number.
    """
    total = dict.fromkeys(COSTS, 0.0)
    for stage in _stages(experiment):
        result = store.result(stage)
        cost = result["cost"]
        # Stores of version 0.1 call it the prior cost.
        preparation = result.get("preparation_cost") or result.get("prior_cost") or {}
        settings = stage.resolved if isinstance(stage, Unlearn) else stage.setting.recipe
        forward = plan.workloads[stage.setting.name].flops
        total["flops"] += cost["flops"]
        total["paper_flops"] += forward * paper_forwards(cost, settings, result["retained"])
        total["seconds"] += cost["seconds"]
        total["bytes_sent"] += cost.get("bytes_sent", 0)  # older stores have no federations
        total["preparation_flops"] += preparation.get("flops", 0.0)
        total["preparation_seconds"] += preparation.get("seconds", 0.0)
        total["peak_memory_mib"] = max(total["peak_memory_mib"], cost["peak_memory_mib"])
    return total


def paper_forwards(cost: Mapping[str, float], settings: Mapping[str, Any], retained: int) -> float:
    """Count the forward passes of one image that the accounting of the CoUn paper charges.

    A retain batch is charged a forward and a backward pass, everything else (a second view, a
    forget batch) only the forward pass, and every batch counts as a full one. Retain batches
    are taken to be one pass over the *retained* rows per epoch.

    Args:
        cost: `forward_images` and `trained_images` of a run.
        settings: `epochs` and `batch_size`; both may be missing, as in RUM.
        retained: number of retain rows.

    Source: inferred from the paper's tables: epochs x ceil(n / B) x B x 3 for Retrain and FT,
        4/3 of that for CoUn, 5/3 for NegGrad+ with the module. The operations of a forward pass
        come from `forward_flops`, which leaves out BatchNorm and ReLU: 0.16% below the
        paper's constant.

    >>> paper_forwards({"forward_images": 100, "trained_images": 100}, {}, retained=50)
    300.0
    """
    epochs, size = settings.get("epochs"), settings.get("batch_size")
    trained = cost["trained_images"]
    if epochs and cost["forward_images"]:
        trained = min(trained, epochs * retained)
    full = math.ceil(retained / size) * size / retained if size else 1.0
    return full * (cost["forward_images"] + 2 * trained)
