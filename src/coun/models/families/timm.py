"""`timm:NAME`: networks of PyTorch Image Models, with fresh weights."""

from __future__ import annotations

from typing import Any

from torch import nn

from coun.errors import CounError, nearest
from coun.models.families.family import Family, Preprocessing, numbers, require


def build(
    name: str, classes: int, shape: tuple[int, ...], _: dict[str, Any] | None = None
) -> nn.Module:
    """Build the network with fresh weights; nothing is downloaded.

    Args:
        name: of the architecture in timm.
        classes: the number of outputs.
        shape: of one input, (C, H, W).

    Raises: CounError if timm is not installed or does not know the name.
    """
    timm = _timm_with(name)
    model = timm.create_model(name, pretrained=False, num_classes=classes, in_chans=shape[0])
    assert isinstance(model, nn.Module)
    return model


def preprocessing(name: str) -> Preprocessing:
    """Read timm's data configuration of the network, `pretrained_cfg`."""
    timm = _timm_with(name)
    config = timm.get_pretrained_cfg(name)
    if config is None:
        return Preprocessing()
    _, height, width = config.input_size
    return Preprocessing(
        (height, width),
        numbers(config.mean),
        numbers(config.std),
        bool(config.fixed_input_size),
        "timm's data configuration",
    )


def _timm_with(name: str) -> Any:
    """The package, if it has a network called *name*."""
    timm = require("timm", "timm")
    # "hf-hub:" and "local-dir:" would fetch or read other files than the user thinks.
    if ":" in name or "/" in name or not timm.is_model(name):
        raise CounError(
            f"unknown timm model '{name}'{nearest(name, timm.list_models())}; timm.list_models() "
            "lists all"
        )
    return timm


FAMILY = Family("timm", "NAME", "a network of PyTorch Image Models", build, preprocessing)
