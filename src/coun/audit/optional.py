"""The parts of an audit that cost training or many forwards, each only where asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from coun.analysis import relearn as run_relearn
from coun.data import Data, Split
from coun.errors import CounError
from coun.metrics import anamnesis_index
from coun.runs import Run, membership, shadows


def relearned(models: Mapping[str, Run], retrain: str, original: str, split: Split) -> Any:
    """Relearn times by model, and the anamnesis index of all but *retrain* against it."""
    found = {name: run_relearn(run, models[original], split) for name, run in models.items()}
    return {
        name: {
            "steps": one.steps,
            "censored": one.censored,
            "anamnesis_index": None
            if name == retrain
            else asdict(anamnesis_index(one.time, found[retrain].time)),
        }
        for name, one in found.items()
    }


def shadowed(
    models: Mapping[str, Run], data: Data, split: Split, count: int, cache: str | Path | None
) -> Any:
    """LiRA offline and RMIA of forget rows against test rows, with *count* shadow models.

    They are trained as the Original was, and kept under *cache* if it is given.
    """
    record = next(iter(models.values())).record
    name = record["model"]["name"]
    if name is None:
        raise CounError("shadow models need a model that can be built by name; leave out shadows")
    place = Path(cache) / "shadows" if cache is not None else None
    made = shadows(data, name, count, out=place, **record["original"])
    return {key: membership(run, made, split).to_json() for key, run in models.items()}
