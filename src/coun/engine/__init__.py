"""Stages, and the one loop that runs them."""

from coun.engine.checkpoint import Checkpoint
from coun.engine.cost import Cost, forward_flops
from coun.engine.device import Compute, environment
from coun.engine.gradients import batch_gradients, mean_gradient
from coun.engine.loop import Engine, Log
from coun.engine.optimizer import Optimizer
from coun.engine.part import on_part
from coun.engine.predict import predict
from coun.engine.stage import Edit, Fit, Pass, Stage, with_term
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
    "Pass",
    "Stage",
    "Task",
    "batch_gradients",
    "environment",
    "forward_flops",
    "mean_gradient",
    "on_part",
    "predict",
    "with_term",
]
