"""Runs: a model with the record of how it was made, on disk or in memory."""

from coun.runs.evaluate import Predictions, evaluate, measure, predictions
from coun.runs.options import Options
from coun.runs.run import Run, train, unlearn

__all__ = [
    "Options",
    "Predictions",
    "Run",
    "evaluate",
    "measure",
    "predictions",
    "train",
    "unlearn",
]
