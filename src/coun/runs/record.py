"""What `run.json` says: enough to make the run again, and to tell it from any other."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from coun.data import Data, Split
from coun.engine import Compute, environment
from coun.engine.process_group import ProcessGroup
from coun.methods import Method
from coun.models import Classifier
from coun.runs.folder import FORMAT


def begin(
    kind: str,
    method: Method,
    data: Data,
    split: Split | None,
    classifier: Classifier,
    compute: Compute,
    *,
    name: str | None,
    seed: int,
    original: dict[str, Any],
    original_seed: int | None,
    parent: dict[str, Any] | None,
) -> dict[str, Any]:
    """The record of a run that is about to start.

    Args:
        kind: "original", "retrain" or "unlearned".
        name: the model's name, None for a module passed in Python.
        original, original_seed: of the Original's training, for methods that follow it.
        parent: folder, method and weights digest of the model that the run starts from.
    """
    record: dict[str, Any] = {
        "format": FORMAT,
        "kind": kind,
        "data": describe(data),
        "model": {
            "name": name,
            "head": classifier.head_name,
            "parameters": sum(p.numel() for p in classifier.inner.parameters()),
        },
        "split": split.to_json() if split else None,
        "method": {"name": method.name, "settings": method.settings()},
        "original": original,
        "original_seed": original_seed,
        "seed": seed,
        "compute": {
            "device": compute.device.type,
            "precision": compute.precision,
            **({"compile": True} if compute.compile else {}),
            **({"ranks": ranks} if (ranks := ProcessGroup.current().count) > 1 else {}),
        },
        "parent": parent,
    }
    record["identity"] = _identity(record)
    record["environment"] = environment()
    return record


def describe(data: Data) -> dict[str, Any]:
    """What a record says of its data, enough to load and check it again."""
    return {
        "source": data.source,
        "limit": data.limit,
        "origin": data.origin,
        "fingerprint": data.fingerprint,
        "classes": list(data.classes),
        "shape": list(data.shape),
        "train": len(data.train),
        "test": len(data.test),
        "views": _name(data.views),
    }


def _identity(record: Mapping[str, Any]) -> str:
    parts = {k: record[k] for k in ("model", "method", "seed", "compute", "original")}
    parts["data"] = {k: record["data"][k] for k in ("fingerprint", "views")}
    parts["split"] = record["split"] and record["split"]["sha256"]
    parts["parent"] = record["parent"] and record["parent"]["weights_sha256"]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _name(views: object) -> str:
    """How a transform prints, or its class where that would show an address."""
    text = repr(views)
    return f"{type(views).__module__}.{type(views).__qualname__}" if " at 0x" in text else text
