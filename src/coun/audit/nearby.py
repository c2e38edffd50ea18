"""Answers to slightly changed copies of the forgotten rows."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from coun.audit.rank_tests import Groups
from coun.audit.scores import log_odds
from coun.data import Split
from coun.data.row_views import TokenDropout
from coun.data.views import Transform
from coun.engine import predict
from coun.runs import Run

NOISE = 0.1  # of a row's standard deviation
NOISE_BATCH = 100  # each batch gets the same noise, so its size is part of what is measured


@dataclass(frozen=True)
class NearbyViews:
    """The inputs of *views* with noise: a tenth of each row's own standard deviation.

    Of texts, a tenth of the tokens is hidden instead.
    """

    views: Transform

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return a training view, without noise."""
        return self.views(images, generator)

    def evaluate(self, images: Tensor) -> Tensor:
        """Return the evaluation view with noise, always the same."""
        inputs, generator = self.views.evaluate(images), torch.Generator().manual_seed(0)
        if inputs.dtype == torch.int64:
            return TokenDropout(NOISE)(inputs, generator)
        noise = torch.randn(inputs.shape, generator=generator)
        spread = inputs.flatten(1).std(1, correction=0).view(-1, *(1,) * (inputs.ndim - 1))
        return inputs + NOISE * spread * noise.to(inputs)


def nearby_odds(run: Run, split: Split) -> Groups:
    """Log-odds of slightly changed copies of the forgotten rows (M,) and the test rows (O,).

    A model that looks up the forgotten rows, and gives them the answers of another model, still
    gives its own answers to rows beside them.
    """
    data = run.data
    noisy = replace(data, views=NearbyViews(data.views))
    parts = (
        data.train.take(split.rows(data, "forgotten")),
        data.test.take(split.test_rows(data)),
    )
    return Groups(
        *(
            log_odds(
                predict(run.classifier, noisy, part, batch_size=NOISE_BATCH).logits, part.labels
            )
            for part in parts
        )
    )
