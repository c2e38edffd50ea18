"""How an original is trained when nobody says otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from coun.errors import CounError
from coun.methods import catalogue, make
from coun.methods.retrain import Retrain
from coun.models import MODELS

# Small nets on small subsets: few rows need many updates to be fitted (calibrated on CIFAR-10).
SMALL: dict[str, Any] = {
    "epochs": 30,
    "batch_size": 64,
    "schedule": "cosine",
    "warmup": 0.2,
}
# CoUn, section 4.1: VGG-16 warms up over the first 75 of 182 epochs.
SPECIAL: dict[str, dict[str, Any]] = {"vgg16": {"warmup": 75 / 182}}


def recipe(
    model: str | None, settings: Mapping[str, Any] | None = None, method: str = Retrain.name
) -> Retrain:
    """How *method* trains *model* (a name, None for a module of the user's own).

    Models of the paper get the paper's recipe, which is the default of `Retrain`; every
    other gets 30 epochs of batch 64 with a warm-up and a cosine. *settings* override it.
    Raises: CounError for a method that does not train from scratch, or for a setting that is
        unknown or out of range.
    """
    kinds = catalogue()
    if method in kinds and not issubclass(kinds[method], Retrain):
        able = ", ".join(name for name, kind in kinds.items() if issubclass(kind, Retrain))
        raise CounError(f"{method} starts from a trained model; expected one of {able}")
    paper = model in MODELS and MODELS[model].scale == "paper"
    base = SPECIAL.get(model or "", {}) if paper else SMALL
    made = make(method, {**base, **(settings or {})})
    assert isinstance(made, Retrain)
    return made


def inherited(method: str, record: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that *method*, if it trains from scratch, takes over from a run's *record*."""
    kind = catalogue().get(method)
    if kind is None or not issubclass(kind, Retrain) or not record:
        return {}
    own = record["method"]
    known = own["settings"] if own["name"] == method else record["original"]
    return {f.name: known[f.name] for f in fields(kind) if f.name in known}
