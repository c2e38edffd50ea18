"""Metrics: pure functions of logits, labels, features and weights, and the table of them all.

They take arrays or tensors and know nothing of data sets, models or runs.
"""

from coun.metrics.accuracies import (
    GAP_METRICS,
    accuracy,
    average_gap,
    confusion,
    gap_of_means,
    unlearn_accuracy,
)
from coun.metrics.calibration import brier_score, calibration_error, negative_log_likelihood
from coun.metrics.cost import cost_ratio
from coun.metrics.divergence import (
    activation_distance,
    agreement,
    js_divergence,
    js_rows,
    kl_divergence,
    probabilities,
    zero_retrain_forgetting,
)
from coun.metrics.ensembles import klom, log_odds_correlation, margins, mean_klom
from coun.metrics.probe import Probe, linear_probe, probe_margins
from coun.metrics.registry import Measurements, Metric, catalogue, columns
from coun.metrics.relearn import AnamnesisIndex, RelearnTime, anamnesis_index
from coun.metrics.representation import (
    LayerDistance,
    centroid_distances,
    centroid_similarities,
    centroids,
    layer_distance,
    linear_cka,
    nearest,
    neighbour_histograms,
)
from coun.metrics.semantics import (
    Correlation,
    class_similarities,
    prediction_rows,
    row_difference,
    semantic_correlation,
)
from coun.metrics.statistics import (
    Comparison,
    Equivalence,
    Mean,
    Proportion,
    clopper_pearson,
    equivalence,
    holm,
    mean_interval,
    paired,
    rank_shares,
    welch,
)
from coun.metrics.tradeoff import tow, tow_mia

__all__ = [
    "GAP_METRICS",
    "AnamnesisIndex",
    "Comparison",
    "Correlation",
    "Equivalence",
    "LayerDistance",
    "Mean",
    "Measurements",
    "Metric",
    "Probe",
    "Proportion",
    "RelearnTime",
    "accuracy",
    "activation_distance",
    "agreement",
    "anamnesis_index",
    "average_gap",
    "brier_score",
    "calibration_error",
    "catalogue",
    "centroid_distances",
    "centroid_similarities",
    "centroids",
    "class_similarities",
    "clopper_pearson",
    "columns",
    "confusion",
    "cost_ratio",
    "equivalence",
    "gap_of_means",
    "holm",
    "js_divergence",
    "js_rows",
    "kl_divergence",
    "klom",
    "layer_distance",
    "linear_cka",
    "linear_probe",
    "log_odds_correlation",
    "margins",
    "mean_interval",
    "mean_klom",
    "nearest",
    "negative_log_likelihood",
    "neighbour_histograms",
    "paired",
    "prediction_rows",
    "probabilities",
    "probe_margins",
    "rank_shares",
    "row_difference",
    "semantic_correlation",
    "tow",
    "tow_mia",
    "unlearn_accuracy",
    "welch",
    "zero_retrain_forgetting",
]
