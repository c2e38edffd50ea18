"""A perceptron for rows of a table, and for inputs of any other shape."""

from __future__ import annotations

import math
from collections import OrderedDict

from torch import nn

from coun.errors import CounError


def mlp(classes: int, shape: tuple[int, ...]) -> nn.Module:
    """Build a perceptron with two hidden layers of 256 ReLUs, for inputs of any shape.

    Args:
        classes: K; the network maps (B, *shape) to logits (B, K); features are (B, 256).
        shape: (D,) for tables, (channels, height, width) for images; it is flattened.

    Raises: CounError if *shape* is empty or has a number below 1.

    Source: none; it is not in the paper. All layers keep PyTorch's default initialisation.
    """
    if not shape or min(shape) < 1:
        raise CounError(f"mlp needs a shape of positive numbers, such as (30,); got {shape}")
    return nn.Sequential(
        OrderedDict(
            flatten=nn.Flatten(),
            hidden1=nn.Linear(math.prod(shape), 256),
            relu1=nn.ReLU(inplace=True),
            hidden2=nn.Linear(256, 256),
            relu2=nn.ReLU(inplace=True),
            head=nn.Linear(256, classes),
        )
    )
