"""Stages, and the only loop that runs them."""

from coun.engine.checkpoint import Checkpoint
from coun.engine.cost import Cost, forward_flops
from coun.engine.device import Compute, environment
from coun.engine.gradients import batch_gradients, mean_gradient
from coun.engine.log import Log
from coun.engine.loop import Engine
from coun.engine.optimizer import Optimizer
from coun.engine.prediction import predict
from coun.engine.stage import Edit, Fit, Phase, Stage, with_term
from coun.engine.subset import for_subset
from coun.engine.task import Task

__all__ = [
    "Checkpoint",
    "Compute",
    "Cost",
    "Edit",
    "Engine",
    "Fit",
    "Log",
    "Optimizer",
    "Phase",
    "Stage",
    "Task",
    "batch_gradients",
    "environment",
    "for_subset",
    "forward_flops",
    "mean_gradient",
    "predict",
    "with_term",
]
