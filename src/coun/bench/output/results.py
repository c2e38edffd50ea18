"""The results of a bench as files: one record for each model and seed, as JSON and parquet."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from coun import __version__
from coun.bench.spec.planned import CANDIDATE, FLOOR, METHOD, Plan
from coun.bench.spec.workload import protocol_of
from coun.engine import environment
from coun.errors import CounError
from coun.files import atomically, cannot_write, read_json, unsealed, write_sealed
from coun.metrics.registry import catalogue, find

CONFIG = "config.toml"  # what the folder of a bench holds and that of merged results does not
RESULTS, TABLE = "results.json", "results.parquet"
FORMAT = 3
DESCRIPTION = ("label", "unit", "title", "needs", "direction", "digits")  # fields of `Metric`
_PRIOR = ("flops", "seconds", "flops_ratio")


def write(
    plan: Plan,
    records: Sequence[Mapping[str, Any]],
    out: Path,
    failures: Mapping[str, str],
    extra: Mapping[str, Any],
) -> None:
    """Write `results.json` and `results.parquet` into *out*.

    Args: extra: further entries of the JSON document.
    """
    body = {
        "format": FORMAT,
        "coun": __version__,
        "title": plan.config.title,
        "note": plan.config.note,
        "config": plan.config.model_dump(mode="json", exclude={"data_root"}),
        "protocol": protocol_of(plan.config).to_json(),
        "environment": environment(),
        "floor": FLOOR,
        "planned": len(plan.models),
        "failures": with_rows(plan, failures),
        **extra,
        **_described(plan.config.metrics),
        "rows": records,
    }
    save(body, out)


def _described(names: Sequence[str]) -> dict[str, Any]:
    """What a report says of each metric of the user's own, whose code it does not import."""
    own = {name: find(name, trust=True) for name in names if name not in catalogue()}
    described = {
        name: {key: getattr(metric, key) for key in DESCRIPTION} for name, metric in own.items()
    }
    return {"metrics": described} if own else {}


def save(body: Mapping[str, Any], out: Path) -> None:
    """Write a document of results as `results.json`, and its rows as `results.parquet`."""
    write_sealed(out / RESULTS, body)
    if body["rows"]:
        _write_parquet(out / TABLE, body["rows"])


def with_rows(plan: Plan, failures: Mapping[str, str]) -> dict[str, str]:
    """Put the label of a method's row before the reason why its experiment failed.

    An experiment is named after its method, and several rows can have the same method.

    Args: failures: reasons by key of an experiment.
    """
    rows: dict[str, dict[str, None]] = {}
    for model in plan.models:
        if model.role in (METHOD, CANDIDATE):
            for experiment in (model.experiment, model.evaluation):
                rows.setdefault(experiment.key, {})[model.row] = None
    return {
        key: f"{', '.join(rows[key])}: {why}" if key in rows else why
        for key, why in failures.items()
    }


def _write_parquet(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Write the records with the same columns for all, and nested values as JSON text."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = list(dict.fromkeys(key for record in records for key in record))
    nested = ("varied", "settings", "semantics")
    plain = [
        {key: json.dumps(record.get(key)) if key in nested else record.get(key) for key in columns}
        for record in records
    ]
    try:
        with atomically(path) as temporary:
            pq.write_table(pa.Table.from_pylist(plain), temporary)
    except OSError as error:
        raise cannot_write(path, error) from error


def read(out: Path) -> dict[str, Any]:
    """Read `results.json` of *out*; results of version 0.1 are converted.

    Raises: CounError if the file is missing, damaged or of an unknown format.
    """
    path = out / RESULTS
    if not path.exists():
        raise CounError(f"{path} does not exist; expected the --out folder of coun bench")
    document = read_json(path)
    if not isinstance(document, dict) or document.get("format") not in (2, FORMAT):
        raise CounError(
            f"{path} is not a bench result of format {FORMAT}; run coun bench again, or use the "
            "version of coun that wrote it"
        )
    advice = "run coun bench again, which repeats no finished work"
    document, sealed = unsealed(document, path, advice)
    if not sealed:
        raise CounError(f"{path} has no checksum; {advice}")
    return _converted(document)


def records_of(
    records: Iterable[Mapping[str, Any]], workload: str, scenario: str, stage: int
) -> list[Mapping[str, Any]]:
    """Return the records of one table."""
    place = (workload, scenario, stage)
    return [r for r in records if (r["workload"], r["scenario"], r["stage"]) == place]


def _converted(document: dict[str, Any]) -> dict[str, Any]:
    """Give the results of version 0.1 today's names: it wrote `bed`, and `prior` in costs."""
    if document["format"] == FORMAT:
        return document

    def renamed(table: Mapping[str, Any]) -> dict[str, Any]:
        names = {"bed": "workload", **{f"prior_{cost}": f"preparation_{cost}" for cost in _PRIOR}}
        return {names.get(key, key): value for key, value in table.items()}

    records = [renamed(record) for record in document["rows"]]
    return {**document, "format": FORMAT, "config": renamed(document["config"]), "rows": records}
