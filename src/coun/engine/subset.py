"""Plans made for a subset of a task's rows, for an engine that runs the whole task."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from torch import equal

from coun.engine.stage import Edit, Stage
from coun.engine.task import Task


def for_subset(stages: Iterable[Stage], part: Task, task: Task, name: str) -> Iterator[Stage]:
    """Adapt *stages*, planned for the subset *part*, to the engine that runs *task*.

    Phases keep the roles that they name. Where a role of *part* has other rows than the same
    role of *task*, these rows get a role of their own in *task*.

    Args:
        stages: the stages of a plan for *part*.
        part: a task with fewer rows, from `Task.with_rows`.
        task: the task that the engine runs.
        name: tells this subset from others, in the names of stages and roles.

    >>> [stage.name for stage in for_subset([Edit("negate", print)], None, None, "part 2")]
    ['negate, part 2']
    """

    def role_in_task(role: str) -> str:
        indices = part.indices(role)
        if role in task.reads and equal(indices, task.indices(role)):
            return role
        return task.define(f"{role}, {name}", indices)

    for stage in stages:
        stage = replace(stage, name=f"{stage.name}, {name}")
        if not isinstance(stage, Edit):
            phases = tuple(
                replace(
                    phase,
                    roles={r: role_in_task(phase.source_of(r)) for r in phase.batch_sizes},
                )
                for phase in stage.phases
            )
            stage = replace(stage, phases=phases)
        yield stage
