"""What a bench found: one row a model and seed, as JSON and as parquet."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from coun.bench.beds import protocol_of
from coun.bench.experiment import Train, Unlearn
from coun.bench.plan import FLOOR, Entry, Plan
from coun.bench.store import Store
from coun.engine import environment
from coun.errors import CounError
from coun.files import atomically, cannot_write, read_json, to_json, write_text
from coun.metrics import GAP_METRICS

RESULTS, TABLE = "results.json", "results.parquet"
FORMAT = 2
COSTS = (
    "flops",
    "paper_flops",
    "seconds",
    "preparation_flops",
    "preparation_seconds",
    "peak_memory_mib",
)
RATIOS = (
    "flops_ratio",
    "paper_flops_ratio",
    "seconds_ratio",
    "preparation_flops_ratio",
)  # to Retrain
TIMINGS = ("seconds", "preparation_seconds", "peak_memory_mib", "seconds_ratio")  # not reproducible


def collect(plan: Plan, store: Store) -> list[dict[str, Any]]:
    """A row for every entry that is finished, in the plan's order.

    `gap` is the mean distance to the same seed's Retrain over the bench's metrics, in points;
    `gap_METRIC` the signed difference in one. Costs of a sequential request add up over its
    stages. Raises: CounError naming a damaged record.
    """
    return [
        _row(plan, entry, store)
        for entry in plan.entries
        if all(map(store.has, (entry.measured, entry.retrain, *_paid(entry.model))))
        and store.has(entry.retrain.subject)
    ]


def _paid(model: Train | Unlearn) -> list[Train | Unlearn]:
    """The model, and the earlier stages of a sequential request that it came through."""
    found = [model]
    while isinstance(model, Unlearn) and model.before is not None:
        model = model.start
        found.append(model)
    return found


def _row(plan: Plan, entry: Entry, store: Store) -> dict[str, Any]:
    found, exact = store.result(entry.measured), store.result(entry.retrain)
    row: dict[str, Any] = {
        "bed": entry.bed,
        "scenario": entry.scenario,
        "stage": entry.stage,
        "row": entry.row,
        "base": entry.base,
        "role": entry.role,
        "method": entry.method,
        "reads_forget": "forget" in entry.reads,
        "module": entry.module,
        "varied": entry.varied,
        "settings": entry.settings,
        "seed": entry.seed,
    }
    row |= {name: found[name] for name in GAP_METRICS}
    if "forgotten_class_test_accuracy" in found:
        row["forgotten_class_test_accuracy"] = found["forgotten_class_test_accuracy"]
    for name in plan.config.metrics:
        row[f"gap_{name}"] = found[name] - exact[name]
    gaps = [abs(row[f"gap_{name}"]) for name in plan.config.metrics]
    row["gap"] = sum(gaps) / len(gaps)
    cost, base = _cost(entry.model, plan, store), _cost(entry.retrain.subject, plan, store)
    row |= cost
    for name in RATIOS:
        own = name.removesuffix("_ratio")
        whole = base[own.removeprefix("preparation_")]
        row[name] = cost[own] / whole if whole else None
    return row | {"model": entry.model.key, "measured": entry.measured.key}


def _cost(model: Train | Unlearn, plan: Plan, store: Store) -> dict[str, float]:
    """What the model cost after its Original, over all stages; a training's own cost.

    `preparation_flops` and `preparation_seconds` were paid before the request and are part of
    no other number.
    """
    found = dict.fromkeys(COSTS, 0.0)
    for one in _paid(model):
        result = store.result(one)
        cost, prior = result["cost"], result.get("preparation_cost", {})
        settings = one.resolved if isinstance(one, Unlearn) else one.world.recipe
        forward = plan.facts[one.world.name].flops
        found["flops"] += cost["flops"]
        found["paper_flops"] += forward * paper_forwards(cost, settings, result["retained"])
        found["seconds"] += cost["seconds"]
        found["preparation_flops"] += prior.get("flops", 0.0)
        found["preparation_seconds"] += prior.get("seconds", 0.0)
        found["peak_memory_mib"] = max(found["peak_memory_mib"], cost["peak_memory_mib"])
    return found


def paper_forwards(cost: Mapping[str, float], settings: Mapping[str, Any], retained: int) -> float:
    """Forwards of one image that CoUn's own accounting charges for *cost*.

    A retain batch is charged forward and backward, all else (a second view, a forget batch)
    its forward only, and every batch as a full one. Retain batches are taken as one sweep
    over the *retained* rows an epoch. A forward's arithmetic is that of `forward_flops`, which
    leaves out BatchNorm and ReLU: 0.16% below the paper's constant.

    Source: specification, section 6: epochs x ceil(n / B) x B x 3 for Retrain and FT, 4/3 of
        it for CoUn, 5/3 for NegGrad+ with the module.
    """
    epochs, size = settings.get("epochs"), settings.get("batch_size")  # RUM leaves them open
    trained = cost["trained_images"]
    if epochs and cost["forward_images"]:
        trained = min(trained, epochs * retained)
    full = math.ceil(retained / size) * size / retained if size else 1.0
    return full * (cost["forward_images"] + 2 * trained)


def write(
    plan: Plan,
    rows: list[dict[str, Any]],
    out: Path,
    failures: Mapping[str, str],
    extra: Mapping[str, Any],
) -> None:
    """`results.json` and `results.parquet` in *out*; *extra* goes into the JSON as it is."""
    body = {
        "format": FORMAT,
        "coun": version("coun"),
        "title": plan.config.title,
        "note": plan.config.note,
        "config": plan.config.model_dump(mode="json"),
        "protocol": protocol_of(plan.config).to_json(),
        "environment": environment(),
        "floor": FLOOR,
        "planned": len(plan.entries),
        "failures": dict(failures),
        **extra,
        "rows": rows,
    }
    write_text(out / RESULTS, to_json({**body, "sha256": _checksum(body)}) + "\n")
    if rows:
        _write_parquet(out / TABLE, rows)


def _write_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    """The rows with nested values as JSON text, every row with the same columns."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    plain = [
        {
            key: json.dumps(row.get(key)) if key in ("varied", "settings") else row.get(key)
            for key in columns
        }
        for row in rows
    ]
    try:
        with atomically(path) as temporary:
            pq.write_table(pa.Table.from_pylist(plain), temporary)
    except OSError as error:
        raise cannot_write(path, error) from error


def read(out: Path) -> dict[str, Any]:
    """`results.json` of *out*. Raises: CounError if it is missing, damaged or of another format."""
    path = out / RESULTS
    if not path.exists():
        raise CounError(f"{path} does not exist; expected the --out folder of coun bench")
    found = read_json(path)
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise CounError(f"{path} is no bench result of format {FORMAT}")
    claimed = found.pop("sha256", None)
    if claimed != _checksum(found):
        raise CounError(
            f"{path} is damaged: its content does not have the checksum it was written with; "
            "run coun bench again, finished work is not repeated"
        )
    return found


def _checksum(body: Mapping[str, Any]) -> str:
    text = json.dumps(json.loads(to_json(body)), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
