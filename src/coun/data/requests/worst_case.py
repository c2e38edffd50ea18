"""The rows that influence the Original most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch

from coun.data.data_set import Data
from coun.data.requests.base import ModelPredictions
from coun.data.requests.by_score import ByScore


class WorstCase(ByScore):
    """Forget the rows whose loss gradients at the Original's last layer are the largest.

    Args:
        fraction: the share of rows, above 0 and below 1.
        level: "high" for the worst case; "middle", "low" and "mix" for comparison.

    Source: TracIn (Pruthi et al., NeurIPS 2020) at one checkpoint, last layer. It is not the
        bilevel search of Fan et al. 2024, which trains a selection.

    >>> WorstCase(fraction=0.1).describe()
    '10% of the rows, by influence on the Original: high'
    """

    kind: Literal["worst_case"] = "worst_case"

    @property
    def needs_original(self) -> bool:
        return True

    def score(self, predictions: Sequence[ModelPredictions], data: Data) -> np.ndarray:
        """Squared norm of each row's loss gradient at the last layer of the first model.

        It is |p - onehot(y)|^2 (|f|^2 + 1): the influence of a row on its own loss, with the
        identity in place of the Hessian.
        """
        logits, features, _ = predictions[0]
        error = torch.softmax(logits.double(), 1)
        error[torch.arange(len(error)), data.train.labels.cpu()] -= 1
        norms: np.ndarray = (
            error.square().sum(1) * (features.double().square().sum(1) + 1)
        ).numpy()
        return norms

    def describe(self) -> str:
        return f"{100 * self.fraction:.4g}% of the rows, by influence on the Original: {self.level}"
