"""Multi-task unlearning: several tasks on one backbone, and requests of rows x tasks.

A reconstruction of "Interference-Aware Multi-Task Unlearning" (arXiv 2605.19042), whose code and
formulas were not available: the parts that it names (requests, projection by task,
orthogonalisation by row, the UIS score) are here as they follow from its description and from
OrthoGrad (arXiv 2503.02312).
"""

from coun.multitask.measures import measure, unlearning_impact_score
from coun.multitask.request import TaskRequest
from coun.multitask.tasks import MultiTaskData, Tasks
from coun.multitask.training import MultiTaskRun, train
from coun.multitask.unlearning import InterferenceAware, unlearn
from coun.multitask.workload import three_tasks

__all__ = [
    "InterferenceAware",
    "MultiTaskData",
    "MultiTaskRun",
    "TaskRequest",
    "Tasks",
    "measure",
    "three_tasks",
    "train",
    "unlearn",
    "unlearning_impact_score",
]
