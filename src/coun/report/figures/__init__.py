"""Pictures: each function makes a matplotlib figure from numbers; none runs a model."""

from coun.report.figures.bars import gaps
from coun.report.figures.drift import drift_curve
from coun.report.figures.heat import confusion_differences, heat_table, prediction_row
from coun.report.figures.lines import loss_histograms, loss_lines, roc_curves
from coun.report.figures.maps import feature_maps

__all__ = [
    "confusion_differences",
    "drift_curve",
    "feature_maps",
    "gaps",
    "heat_table",
    "loss_histograms",
    "loss_lines",
    "prediction_row",
    "roc_curves",
]
