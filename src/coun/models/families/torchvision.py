"""`torchvision:NAME`: classifiers of torchvision, with fresh weights."""

from __future__ import annotations

from typing import Any

from torch import nn

from coun.errors import CounError, nearest
from coun.models.families.family import Family, Preprocessing, numbers, require

FIXED = ("vit_", "maxvit_")  # networks that take pictures of one size only


def build(
    name: str, classes: int, shape: tuple[int, ...], _: dict[str, Any] | None = None
) -> nn.Module:
    """Build the network with fresh weights; nothing is downloaded.

    Args:
        name: of the architecture in torchvision.
        classes: the number of outputs.
        shape: of one input, (C, H, W).

    Raises: CounError if torchvision is not installed or does not know the name.
    """
    del shape  # they take images in colour only
    model = _models_with(name).get_model(name, weights=None, num_classes=classes)
    assert isinstance(model, nn.Module)
    return model


def preprocessing(name: str) -> Preprocessing:
    """Read the transforms of torchvision's own weights of the network."""
    models = _models_with(name)
    transforms = models.get_model_weights(name).DEFAULT.transforms()
    size = transforms.crop_size[0]
    return Preprocessing(
        (size, size),
        numbers(transforms.mean),
        numbers(transforms.std),
        name.startswith(FIXED),
        "the transforms of torchvision's weights",
    )


def _models_with(name: str) -> Any:
    """The module `torchvision.models`, if it has a classifier called *name*."""
    models = require("torchvision", "torchvision").models
    names = models.list_models(module=models)
    if name not in names:
        raise CounError(
            f"unknown torchvision model '{name}'{nearest(name, names)}; "
            "torchvision.models.list_models() lists all"
        )
    return models


FAMILY = Family("torchvision", "NAME", "a classifier of torchvision", build, preprocessing)
