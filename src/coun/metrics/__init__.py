"""Pure functions of logits, labels and features; they see tensors and nothing else."""

from coun.metrics.accuracy import GAP_METRICS, accuracy, average_gap, unlearn_accuracy
from coun.metrics.membership import confidence, svc_efficacy

__all__ = [
    "GAP_METRICS",
    "accuracy",
    "average_gap",
    "confidence",
    "svc_efficacy",
    "unlearn_accuracy",
]
