"""Forget requests in a bench: how tables call them, and what the hash of an experiment holds."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from coun.data.requests import Request

# What version 0.1 wrote of its kinds of request. Hashes keep these words, so that old stores
# stay valid; newer settings of a request enter the hash only where they are not the default.
_EARLIER_KINDS = {"memorised": "memorisation", "worst_case": "worst"}
_EARLIER_FIELDS = {
    "random": {"fraction"},
    "class": {"name"},
    "subclass": {"name"},
    "memorised": {"level", "fraction", "models"},
    "worst_case": {"fraction"},
}
_EARLIER_SCORES = {"memorised": "memorisation", "worst_case": "self-influence"}
_UNSEEDED = (
    "class",
    "subclass",
    "memorised",
    "worst_case",
    "listed",
    "client",
)  # kinds that draw nothing


def label(request: Request) -> str:
    """Call a request by a few words, for the headings of tables.

    >>> from coun.data.requests import Class, Random, Sequential
    >>> label(Random(fraction=0.1)), label(Class(name="cat")), label(Sequential())
    ('random 10%', 'class cat', 'sequential 5 x 10%')
    """
    fields = request.model_dump()
    words: dict[str, Callable[[Any], str]] = {
        "level": str,
        "stages": "{} x".format,
        "fraction": lambda share: f"{100 * share:.4g}%",
        "name": str,
        "seed": "seed {}".format,
    }
    named = [word(fields[key]) for key, word in words.items() if fields.get(key) is not None]
    return " ".join([request.kind.replace("_", " "), *named]) if named else request.describe()


def hashed_record(request: Request) -> tuple[dict[str, Any], str]:
    """What the hash of an experiment holds of a request: its record, and the rule of the draw."""
    earlier = {"kind", *_EARLIER_FIELDS.get(request.kind, set())}
    record = {
        **request.model_dump(mode="json", exclude_defaults=True),
        **request.model_dump(mode="json", include=earlier),
    }
    record["kind"] = _EARLIER_KINDS.get(request.kind, request.kind)
    # The seed is part of the experiment, and which rows a draw may use again depends on stages.
    draw = {key: record.pop(key, None) for key in ("draw", "seed", "among")}["draw"]
    return record, "numpy" if draw == "salun" else "torch"


def score_name(request: Request) -> str:
    """What the hash of an experiment holds of the score that a request computes."""
    if request.kind in _EARLIER_SCORES:
        return _EARLIER_SCORES[request.kind]
    return json.dumps(hashed_record(request)[0], sort_keys=True)


def seed_of_draw(request: Request, seed: int) -> int | None:
    """The seed with which rows are drawn in a bench that draws with *seed*; None for no draw."""
    if request.kind in _UNSEEDED:
        return None
    fixed = getattr(request, "seed", None)
    return seed if fixed is None else int(fixed)
