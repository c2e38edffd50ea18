"""What the image nets share: the check of the input shape and the initialisation."""

from __future__ import annotations

from torch import nn

from coun.errors import CounError


def image_shape(name: str, shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return *shape* as (channels, height, width).

    Raises: CounError if it is not three positive numbers; *name* is the model that asks.
    """
    if len(shape) != 3 or min(shape) < 1:
        raise CounError(
            f"{name} takes images, (channels, height, width); got shape {tuple(shape)} "
            "(the model 'mlp' takes any shape)"
        )
    channels, height, width = shape
    return channels, height, width


def init_convs(net: nn.Module) -> None:
    """Draw every convolution from kaiming_normal_(fan_out, relu), biases zero, in place.

    Linear and BatchNorm layers keep torch's defaults. The global generator is used: seed it
    before building.
    """
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
