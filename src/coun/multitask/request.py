"""Requests of rows x tasks: which rows must be forgotten for which tasks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from coun.data.requests.listed import row_numbers
from coun.errors import CounError, counted
from coun.multitask.tasks import MultiTaskData


@dataclass(frozen=True, eq=False)
class TaskRequest:
    """Forget *rows* for *tasks*.

    A request for all tasks is a full-task request, and the rows are then not used at all; one for
    some of them is a partial-task request, and the rows keep serving the others.

    Args:
        rows: numbers of training rows, such as `split.forget`.
        tasks: names of tasks.
        earlier: the request that was carried out before, whose pairs stay forgotten. `unlearn`
            sets it where it starts from a run that has forgotten something.

    >>> TaskRequest([3, 5], ("class",))
    Request: 2 rows for class
    """

    rows: Tensor | Iterable[int]
    tasks: tuple[str, ...]
    earlier: TaskRequest | None = None

    def __repr__(self) -> str:
        """A line for people: how many rows, for which tasks; one more for each earlier request."""
        rows = counted(len(row_numbers(self.rows)), "row")
        text = f"Request: {rows} for {', '.join(self.tasks)}"
        return text if self.earlier is None else f"{text}\n  after {self.earlier!r}"

    def after(self, earlier: TaskRequest | None) -> TaskRequest:
        """Return this request as one that follows *earlier*; the same request without one."""
        if earlier is None or earlier is self:
            return self
        return replace(
            self, earlier=earlier if self.earlier is None else self.earlier.after(earlier)
        )

    def forgotten(self, workload: MultiTaskData) -> Tensor:
        """Return all pairs that must be forgotten by now, those of earlier requests too, (n, T).

        Raises: CounError as `pairs`, or if nothing would be kept.
        """
        forgotten = self.pairs(workload)
        if self.earlier is not None:
            forgotten = forgotten | self.earlier.forgotten(workload)
        if bool(forgotten.all()):
            raise CounError("the request names every row for every task; expected some to be left")
        return forgotten

    def pairs(self, workload: MultiTaskData) -> Tensor:
        """Return the pairs of row and task that this request names, (n, T) bool.

        Raises: CounError for an unknown task or row, or if it names nothing.
        """
        numbers, listed_numbers = workload.data.train.numbers, row_numbers(self.rows)
        if not len(listed_numbers) or not self.tasks:
            raise CounError("the request names no row or no task; expected at least one of each")
        unknown_numbers = listed_numbers[~torch.isin(listed_numbers, numbers)]
        if len(unknown_numbers):
            raise CounError(
                f"row {int(unknown_numbers[0])} is not a training row; expected its number"
            )
        forgotten = torch.zeros(len(numbers), len(workload.tasks.names), dtype=torch.bool)
        for name in self.tasks:
            forgotten[:, workload.tasks.place(name)] = torch.isin(numbers, listed_numbers)
        return forgotten
