"""Plans made on a part of a task's rows, for an engine that runs the whole task."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from torch import equal

from coun.engine.stage import Edit, Stage
from coun.engine.task import Task


def for_subset(stages: Iterable[Stage], part: Task, task: Task, name: str) -> Iterator[Stage]:
    """*stages*, planned on *part* (`task.with_rows`), for the engine that runs *task*.

    Passes still draw the roles that they name; where *part* means other rows by a role, they
    come from one that *task* knows them by. *name* tells this part from others.
    """

    def known(role: str) -> str:
        rows = part.rows(role)
        if role in task.reads and equal(rows, task.rows(role)):
            return role
        return task.define(f"{role}, {name}", rows)

    for stage in stages:
        stage = replace(stage, name=f"{stage.name}, {name}")
        if not isinstance(stage, Edit):
            phases = tuple(
                replace(
                    one, roles={role: known(one.roles.get(role, role)) for role in one.batch_sizes}
                )
                for one in stage.phases
            )
            stage = replace(stage, phases=phases)
        yield stage
