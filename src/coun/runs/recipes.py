"""How an Original is trained where the user does not say it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from coun.errors import CounError
from coun.methods import catalogue, make
from coun.methods.retrain import Retrain
from coun.models import MODELS
from coun.plans.method import FromScratch
from coun.runs.record import RunRecord

# Small networks on small subsets need many steps to fit few rows (calibrated on CIFAR-10).
SMALL: dict[str, Any] = {"epochs": 30, "batch_size": 64, "schedule": "cosine", "warmup": 0.2}
# CoUn, section 4.1: VGG-16 warms up over the first 75 of 182 epochs.
SPECIAL: dict[str, dict[str, Any]] = {"vgg16": {"warmup": 75 / 182}}


def recipe(
    model: str | None, settings: Mapping[str, Any] | None = None, method: str = Retrain.name
) -> FromScratch:
    """Make the training method of an Original or a Retrain, with the recipe of its model.

    Models of the paper get the paper's recipe, which is the default of `Retrain`; all others
    get 30 epochs of batch size 64 with a warm-up and a cosine schedule.

    Args:
        model: a model's name, or None for a module passed in Python.
        settings: override the recipe.
        method: "retrain", or another method that trains from scratch.

    Raises: CounError for a method that does not train from scratch, or for a setting that is
        unknown or out of range.
    """
    methods = catalogue()
    if method in methods and not methods[method].trains_from_scratch:
        suitable = ", ".join(name for name, kind in methods.items() if kind.trains_from_scratch)
        raise CounError(f"{method} starts from a trained model; expected one of {suitable}")
    of_the_paper = model in MODELS and MODELS[model].scale == "paper"
    base = SPECIAL.get(model or "", {}) if of_the_paper else SMALL
    training = make(method, {**base, **(settings or {})})
    assert isinstance(training, FromScratch)
    return training


def inherited(method: str, record: Mapping[str, Any] | RunRecord | None) -> dict[str, Any]:
    """Return the settings that *method*, if it trains from scratch, takes from a run's *record*."""
    kind = catalogue().get(method)
    if kind is None or not kind.trains_from_scratch or not record:
        return {}
    trained = record["method"]
    settings = trained["settings"] if trained["name"] == method else record["original"]
    return {f.name: settings[f.name] for f in fields(kind) if f.name in settings}
