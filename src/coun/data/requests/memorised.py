"""The rows that models memorise most, or least."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from coun.data.data_set import Data
from coun.data.requests.base import ModelPredictions
from coun.data.requests.by_score import ByScore


class Memorised(ByScore):
    """Forget the rows that models memorise most (level "high"), least, or in between.

    Args:
        fraction: the share of rows, above 0 and below 1.
        level: "high", "middle", "low", or "mix" for a third of each.
        models: how many models are trained, each on a random half of the rows.

    Source: memorisation by random halves, Feldman and Zhang, NeurIPS 2020; as a forget
        request, RUM (Zhao et al., NeurIPS 2024).

    >>> Memorised(fraction=0.05, level="low").describe()
    '5% of the rows, by memorisation: low'
    """

    kind: Literal["memorised"] = "memorised"
    models: Annotated[int, Field(ge=2)] = 8

    @property
    def half_models(self) -> int:
        return self.models

    def score(self, predictions: Sequence[ModelPredictions], data: Data) -> np.ndarray:
        """Share of models right about a row they were trained on, less that of the others.

        A row that all models were trained on, or none, scores 0.
        """
        labels = data.train.labels.cpu()
        hit = np.array([(p.logits.argmax(1) == labels).numpy() for p in predictions], dtype=float)
        inside = np.array([p.trained_on.numpy() for p in predictions])
        within, without = inside.sum(0), (~inside).sum(0)
        share = (hit * inside).sum(0) / np.maximum(within, 1)
        other = (hit * ~inside).sum(0) / np.maximum(without, 1)
        return np.where((within > 0) & (without > 0), share - other, 0.0)

    def describe(self) -> str:
        return f"{100 * self.fraction:.4g}% of the rows, by memorisation: {self.level}"
