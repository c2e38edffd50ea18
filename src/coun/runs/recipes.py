"""How an original is trained when nobody says otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from coun.methods import make
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


def recipe(model: str | None, settings: Mapping[str, Any] | None = None) -> Retrain:
    """The training recipe for *model* (a name, None for a module of the user's own).

    Models of the paper get the paper's recipe, which is the default of `Retrain`; every
    other gets 30 epochs of batch 64 with a warm-up and a cosine. *settings* override it.
    Raises: CounError for a setting that is unknown or out of range.
    """
    paper = model in MODELS and MODELS[model].scale == "paper"
    base = SPECIAL.get(model or "", {}) if paper else SMALL
    method = make("retrain", {**base, **(settings or {})})
    assert isinstance(method, Retrain)
    return method
