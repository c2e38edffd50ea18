"""Parts that the networks for images share: the check of the input shape, the initialisation."""

from __future__ import annotations

from torch import nn

from coun.errors import CounError


def image_shape(name: str, shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Return *shape* as (channels, height, width).

    Raises: CounError, which names the model, if it is not three positive numbers.
    """
    if len(shape) != 3 or min(shape) < 1:
        raise CounError(
            f"{name} takes images, (channels, height, width); got shape {tuple(shape)} "
            "(the model 'mlp' takes any shape)"
        )
    channels, height, width = shape
    return channels, height, width


def init_convs(net: nn.Module) -> None:
    """Initialise every convolution by kaiming_normal_(fan_out, relu), and its bias by 0.

    Linear and BatchNorm layers keep PyTorch's defaults. Numbers come from the global generator.
    """
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
