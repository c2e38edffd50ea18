"""Other programs, each optional: experiment trackers, model cards, scikit-learn.

A module here imports its package when it is used, so that `coun` does not need it.
"""

from coun.integrations.cards import model_card
from coun.integrations.estimator import Unlearner
from coun.integrations.model_registry import to_mlflow
from coun.integrations.trackers import mlflow_writer, tensorboard_writer, wandb_writer

__all__ = [
    "Unlearner",
    "mlflow_writer",
    "model_card",
    "tensorboard_writer",
    "to_mlflow",
    "wandb_writer",
]
