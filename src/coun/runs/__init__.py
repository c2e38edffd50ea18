"""Runs: models with the record of how they were made, on disk or in memory."""

from coun.runs.chain import history
from coun.runs.evaluation import evaluate
from coun.runs.exporting import export
from coun.runs.label_errors import SuspiciousLabel, suspicious_labels
from coun.runs.measuring import Predictions, measure, predictions
from coun.runs.metrics_record import Metrics
from coun.runs.options import Options
from coun.runs.preparation import prepare
from coun.runs.record import RunRecord
from coun.runs.run import Run
from coun.runs.run_rows import RunRow, rows_of_run
from coun.runs.scoring import request_scores
from coun.runs.serving import load_model, load_views
from coun.runs.shadow_models import Membership, Shadows, membership, shadows
from coun.runs.shared_outputs import SharedOutputs
from coun.runs.training import train
from coun.runs.unlearning import unlearn

__all__ = [
    "Membership",
    "Metrics",
    "Options",
    "Predictions",
    "Run",
    "RunRecord",
    "RunRow",
    "Shadows",
    "SharedOutputs",
    "SuspiciousLabel",
    "evaluate",
    "export",
    "history",
    "load_model",
    "load_views",
    "measure",
    "membership",
    "predictions",
    "prepare",
    "request_scores",
    "rows_of_run",
    "shadows",
    "suspicious_labels",
    "train",
    "unlearn",
]
