"""ToW (tug of war): nearness to Retrain on three sets as one product."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from coun.metrics.accuracies import differences
from coun.metrics.registry import Metric


def tow(metrics: Mapping[str, float], retrain: Mapping[str, float]) -> float:
    """Compute ToW = (1-|dRA|)(1-|dFA|)(1-|dTA|), 0..1; 1 is Retrain, higher is better.

    Args: metrics, retrain: percentages under `retain_accuracy`, `unlearn_accuracy` (|dUA| is
        equal to |dFA|) and `test_accuracy`.

    Raises: CounError if a metric is missing.

    Source: RUM (Zhao et al., NeurIPS 2024).

    >>> retrain = {"retain_accuracy": 99.0, "unlearn_accuracy": 10.0, "test_accuracy": 90.0}
    >>> tow(retrain | {"test_accuracy": 80.0}, retrain)
    0.9
    """
    return _product(metrics, retrain, "unlearn_accuracy", "ToW")


def tow_mia(metrics: Mapping[str, float], retrain: Mapping[str, float]) -> float:
    """Compute ToW-MIA: as `tow`, with `mia_efficacy` in the place of the unlearn accuracy.

    Args: metrics, retrain: percentages, as for `tow`.

    Raises: CounError if a metric is missing.

    Source: RUM's code; the efficacy is that of the SVC on confidences.

    >>> retrain = {"retain_accuracy": 90.0, "mia_efficacy": 40.0, "test_accuracy": 80.0}
    >>> round(tow_mia({**retrain, "mia_efficacy": 30.0}, retrain), 2)
    0.9
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
    title="Tug of war, 1 is Retrain (ToW)", unit="", direction="higher", column=None,
)  # fmt: skip
TOW_MIA = Metric.of_values(
    tow_mia, ("retain_accuracy", "mia_efficacy", "test_accuracy"), name="tow_mia",
    label="ToW-MIA", title="Tug of war with MIA, 1 is Retrain (ToW-MIA)", unit="",
    direction="higher", column=None,
)  # fmt: skip
