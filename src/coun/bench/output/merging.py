"""Results of one bench that several runs measured, such as a seed on each machine, put together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from coun.bench.output.results import CONFIG, RESULTS, read, save
from coun.bench.spec.config import Workload
from coun.errors import CounError
from coun.files import expanded, refuse_foreign
from coun.metrics import GAP_METRICS

FREE = {"title", "note", "seeds", "method", "tune", "compute", "data_root"}  # keys that may differ
# Metrics that every row measures on the same images. TA and MIA of some methods, and those of their
# Retrain, are measured on half of the test rows.
OF_TRAINING_ROWS = ("retain_accuracy", "unlearn_accuracy")
ROUNDING = 1e-6  # points
LEFT_OUT = "What compares the models of all seeds was measured in the parts only."


def merge(folders: Sequence[str | Path], out: str | Path) -> dict[str, Any]:
    """Put the results of several runs of one bench together, so that one report has all seeds.

    A bench of many seeds can then be measured on several machines, or continued where its store
    is no longer there. The parts must have the same workloads, scenarios, protocol and metrics, and
    rows with the same name the same settings. A model that several parts measured counts once, and
    its metrics must be equal in all of them: rows of one seed are compared with one Retrain.

    Args:
        folders: two or more folders of `bench`, or of earlier merges.
        out: the folder to write `results.json` and `results.parquet` into; a new one, or one
            that holds merged results.

    Returns: the content of `results.json`. Its `merged` says where the rows come from. Values for
        which the models of all seeds were compared (`ensembles`) cannot be merged and are left out.

    Raises: CounError if the parts do not belong together, or if *out* holds anything else.

    Example:
        >>> from coun.bench import bench, merge
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as here:
        ...     parts = [f"{here}/first", f"{here}/second"]
        ...     for seed, part in enumerate(parts):
        ...         _ = bench("demo", part, tiny=True, only=[f"seed={seed}", "row=FT"], quiet=True)
        ...     together = merge(parts, f"{here}/both")
        >>> sorted({row["seed"] for row in together["rows"]})
        [0, 1]
    """
    out = expanded(out)
    places = [expanded(folder) for folder in folders]
    if len(places) < 2:
        raise CounError(f"found {len(places)} folder to merge; expected two or more")
    different = {place.resolve() for place in places}
    if len(different) < len(places):
        names = ", ".join(map(str, places))
        raise CounError(f"a folder is named twice in {names}; expected each folder once")
    if out.resolve() in different or (out / CONFIG).exists():
        raise CounError(f"{out} holds a bench; expected a new folder for the merged results")
    refuse_foreign(out, RESULTS)
    parts = dict(zip(map(str, places), map(read, places), strict=True))
    _refuse_different_benches(parts)
    rows = _merged_rows(parts)
    first, *_ = parts.values()
    configs = [part["config"] for part in parts.values()]
    measured = {row[key] for row in rows for key in ("model", "measured") if key in row}
    failures = {key: why for part in parts.values() for key, why in part["failures"].items()}
    repeated = sum(len(part["rows"]) for part in parts.values()) - len(rows)
    body = {
        **{key: value for key, value in first.items() if key != "ensembles"},
        "config": {**first["config"], "seeds": _union(config["seeds"] for config in configs)},
        "planned": sum(part["planned"] for part in parts.values()) - repeated,
        "failures": {key: why for key, why in failures.items() if key not in measured},
        "merged": [origin for part in parts.values() for origin in _origins(part)],
        "rows": rows,
    }
    if any("ensembles" in part for part in parts.values()):
        body["note"] = f"{first['note']} {LEFT_OUT}".strip()
    save(body, out)
    return read(out)


def _refuse_different_benches(parts: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse parts whose numbers mean different things."""
    (name, first), *others = parts.items()
    for other, part in others:
        for key in sorted((first["config"].keys() | part["config"].keys()) - FREE):
            values = [
                _with_defaults(key, config.get(key)) for config in (first["config"], part["config"])
            ]
            if values[0] != values[1]:
                raise CounError(
                    f"{other} and {name} have different values of '{key}' in their configs; "
                    "expected results of one bench, with other seeds or other rows"
                )
        if first["protocol"] != part["protocol"]:
            raise CounError(
                f"{other} and {name} have different protocols; expected results of one bench"
            )


def _with_defaults(key: str, value: Any) -> Any:
    """Give workloads of an earlier version the defaults of the keys that were added since.

    Other parts of a config may name code, which would be imported to validate them.
    """
    return list(map(Workload.model_validate, value)) if key == "workload" else value


def _merged_rows(parts: Mapping[str, Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The records of all parts, each model and seed once, in the order of the parts."""
    merged: dict[tuple[Any, ...], Mapping[str, Any]] = {}
    settings: dict[tuple[Any, ...], Any] = {}
    retrain: dict[tuple[Any, ...], float] = {}
    for name, part in parts.items():
        for row in part["rows"]:
            request = tuple(row[key] for key in ("workload", "scenario", "stage"))
            label = f"row '{row['row']}' of {row['workload']}, {row['scenario']}"
            here = settings.setdefault((*request, row["row"]), row.get("settings"))
            if here != row.get("settings"):
                raise CounError(
                    f"{name}: {label} has other settings than in another folder; give one of the "
                    "rows another label, and run it again"
                )
            earlier = merged.setdefault((*request, row["row"], row["seed"]), row)
            for key in GAP_METRICS:
                _refuse_difference(name, f"{label}, seed {row['seed']}", key, earlier, row)
            for key in OF_TRAINING_ROWS:
                if key in row and f"gap_{key}" in row:
                    value = row[key] - row[f"gap_{key}"]
                    first = retrain.setdefault((*request, row["seed"], key), value)
                    what = (
                        f"the Retrain of {row['workload']}, {row['scenario']}, seed {row['seed']}"
                    )
                    _refuse_difference(name, what, key, {key: first}, {key: value})
    return list(merged.values())


def _refuse_difference(
    name: str, what: str, key: str, earlier: Mapping[str, Any], row: Mapping[str, Any]
) -> None:
    """Refuse a value that was measured twice and came out different; rounding is allowed."""
    if key in earlier and key in row and abs(earlier[key] - row[key]) > ROUNDING:
        raise CounError(
            f"{name}: {what}, has {key} = {row[key]:g}, and {earlier[key]:g} in another folder; "
            "expected all rows of a seed from one kind of machine and one version of coun"
        )


def _origins(part: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Where the rows of a part come from, which may be an earlier merge."""
    here = {
        "seeds": _union([row["seed"]] for row in part["rows"]),
        "rows": len(part["rows"]),
        **{key: part[key] for key in ("coun", "environment")},
    }
    return list(part.get("merged", [here]))


def _union(lists: Iterable[Iterable[int]]) -> list[int]:
    return sorted({seed for seeds in lists for seed in seeds})
