"""Views that give slightly changed copies of rows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from coun.data.row_views import TokenDropout
from coun.data.views import Transform

NOISE = 0.1  # of a row's standard deviation


@dataclass(frozen=True)
class NoisyViews:
    """The inputs of *views* with noise: a tenth of each row's own standard deviation.

    Of texts, a tenth of the tokens is hidden instead. The same *seed* gives the same noise.

    >>> from coun.data import Views
    >>> rows = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)  # without any spread
    >>> NoisyViews(Views("")).evaluate(rows).equal(Views("").evaluate(rows))
    True
    """

    views: Transform
    seed: int = 0

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return a training view, without noise."""
        return self.views(images, generator)

    def evaluate(self, images: Tensor) -> Tensor:
        """Return the evaluation view with noise."""
        inputs, generator = self.views.evaluate(images), torch.Generator().manual_seed(self.seed)
        if inputs.dtype == torch.int64:
            return TokenDropout(NOISE)(inputs, generator)
        noise = torch.randn(inputs.shape, generator=generator)
        spread = inputs.flatten(1).std(1, correction=0).view(-1, *(1,) * (inputs.ndim - 1))
        return inputs + NOISE * spread * noise.to(inputs)
