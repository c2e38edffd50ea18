"""ToW (tug of war): nearness to Retrain on three sets as one product."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from coun.metrics.accuracies import differences
from coun.metrics.registry import Metric


def tow(metrics: Mapping[str, float], retrain: Mapping[str, float]) -> float:
    """ToW = (1-|dRA|)(1-|dFA|)(1-|dTA|); 1 is Retrain, higher is better.

    Args: percent under `retain_accuracy`, `unlearn_accuracy` (|dUA| = |dFA|) and
        `test_accuracy`, as `evaluate` writes them.

    Source: RUM (Zhao et al., NeurIPS 2024). Raises: CounError if a metric is missing.
    """
    return _product(metrics, retrain, "unlearn_accuracy", "ToW")


def tow_mia(metrics: Mapping[str, float], retrain: Mapping[str, float]) -> float:
    """ToW-MIA: as ToW, with the MIA efficacy (`mia_efficacy`, percent) for the forget accuracy.

    Source: RUM's code; efficacy is that of the SVC on confidences.
    """
    return _product(metrics, retrain, "mia_efficacy", "ToW-MIA")


def _product(
    metrics: Mapping[str, float], retrain: Mapping[str, float], forget: str, purpose: str
) -> float:
    names = ("retain_accuracy", forget, "test_accuracy")
    gaps = differences(metrics, retrain, names, purpose)
    return float(np.prod(1 - np.abs(gaps) / 100))


TOW = Metric.of_values(
    tow, ("retain_accuracy", "unlearn_accuracy", "test_accuracy"), name="tow", label="ToW",
    unit="", direction="higher", aims_at=1.0, column=None,
)  # fmt: skip
TOW_MIA = Metric.of_values(
    tow_mia, ("retain_accuracy", "mia_efficacy", "test_accuracy"), name="tow_mia",
    label="ToW-MIA", unit="", direction="higher", aims_at=1.0, column=None,
)  # fmt: skip
