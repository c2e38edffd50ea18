"""The inputs of rows as columns of numbers, for distances that no model has a say in."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from coun.data.data_set import Data
from coun.data.examples import Examples

SIDE = 16  # larger pictures are averaged down
CHUNK = 256


def input_columns(data: Data, rows: Examples) -> Tensor | None:
    """Return the inputs of *rows*, (N, D) float32, or None for texts, whose ids have no distance.

    >>> import coun
    >>> data = coun.load("digits", limit=50)
    >>> input_columns(data, data.train).shape
    torch.Size([50, 64])
    """
    parts = []
    for places in torch.split(torch.arange(len(rows)), CHUNK):
        inputs = data.views.evaluate(rows.fetch(places.to(rows.labels.device))).cpu()
        if not inputs.is_floating_point():
            return None
        if inputs.ndim == 4 and max(inputs.shape[2:]) > SIDE:
            inputs = F.adaptive_avg_pool2d(inputs.float(), SIDE)
        parts.append(inputs.flatten(1).float())
    return torch.cat(parts)
