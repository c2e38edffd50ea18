"""Runs: a model with the record of how it was made, on disk or in memory."""

from coun.runs.evaluation import Predictions, evaluate, measure, predictions
from coun.runs.options import Options
from coun.runs.run import Run, train, unlearn
from coun.runs.shadow_models import Membership, Shadows, membership, shadows

__all__ = [
    "Membership",
    "Options",
    "Predictions",
    "Run",
    "Shadows",
    "evaluate",
    "measure",
    "membership",
    "predictions",
    "shadows",
    "train",
    "unlearn",
]
