"""How an Original is trained where the user does not say it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Literal

from torch import nn

from coun.errors import CounError
from coun.methods import catalogue, find, make
from coun.methods.retrain import Retrain
from coun.models import MODELS
from coun.plans.method import FromScratch
from coun.runs.record import RunRecord

# Small networks on small subsets need many steps to fit few rows (calibrated on CIFAR-10).
SMALL: dict[str, Any] = {"epochs": 30, "batch_size": 64, "schedule": "cosine", "warmup": 0.2}
# Transformers are trained with AdamW; SGD at 0.1 would not train one.
ATTENTION: dict[str, Any] = {"optimizer": "adamw", "lr": 1e-3}
# CoUn, section 4.1: VGG-16 warms up over the first 75 of 182 epochs.
SPECIAL: dict[str, dict[str, Any]] = {"vgg16": {"warmup": 75 / 182}}

Family = Literal["BatchNorm", "attention or LayerNorm", "no normalisation"]
ATTENTIVE: Family = "attention or LayerNorm"


def family(model: nn.Module) -> Family:
    """Name the family of a network, which says with what optimizer such networks are trained.

    Networks with BatchNorm are trained with SGD, and those that normalise each row, as
    transformers do, with AdamW. Layers are recognised by the names of their classes, because
    many libraries have their own.

    >>> family(nn.TransformerEncoderLayer(8, 2))
    'attention or LayerNorm'
    """
    kinds = [type(module).__name__.lower() for module in model.modules()]
    if any("batchnorm" in kind for kind in kinds):
        return "BatchNorm"
    if any(word in kind for kind in kinds for word in ("layernorm", "rmsnorm", "attention")):
        return ATTENTIVE
    return "no normalisation"


def recipe(
    model: str | None,
    settings: Mapping[str, Any] | None = None,
    method: str = Retrain.name,
    *,
    network: nn.Module | None = None,
) -> FromScratch:
    """Make the training method of an Original or a Retrain, with the recipe of its model.

    Models of the paper get the paper's recipe, which is the default of `Retrain`; all others
    get 30 epochs of batch size 64 with a warm-up and a cosine schedule, with AdamW for networks
    of the family of transformers and SGD for others.

    Args:
        model: a model's name, or None for a module passed in Python.
        settings: override the recipe.
        method: "retrain", or another method that trains from scratch.
        network: the model, which shows its family; without it SGD is used.

    Raises: CounError for a method that does not train from scratch, or for a setting that is
        unknown or out of range.
    """
    if not find(method, trust=True).trains_from_scratch:
        suitable = ", ".join(name for name, kind in catalogue().items() if kind.trains_from_scratch)
        raise CounError(f"{method} starts from a trained model; expected one of {suitable}")
    of_the_paper = model in MODELS and MODELS[model].scale == "paper"
    base = SPECIAL.get(model or "", {}) if of_the_paper else SMALL | by_family(network)
    training = make(method, {**base, **(settings or {})}, trust=True)
    assert isinstance(training, FromScratch)
    return training


def by_family(network: nn.Module | None) -> dict[str, Any]:
    """Return the settings of training from scratch that the family of a network asks for."""
    return ATTENTION if network is not None and family(network) == ATTENTIVE else {}


def inherited(method: str, record: Mapping[str, Any] | RunRecord | None) -> dict[str, Any]:
    """Return the settings that *method*, if it trains from scratch, takes from a run's *record*."""
    kind = catalogue().get(method)
    if kind is None or not kind.trains_from_scratch or not record:
        return {}
    trained = record["method"]
    settings = trained["settings"] if trained["name"] == method else record["original"]
    return {f.name: settings[f.name] for f in fields(kind) if f.name in settings}
