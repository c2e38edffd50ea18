"""Several tasks over the same rows: their labels, and which outputs of a model are whose."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from coun.data import Data
from coun.errors import CounError, unknown


@dataclass(frozen=True, eq=False)
class Tasks:
    """The tasks of a model with several heads.

    The heads are blocks of one linear layer on the shared features: K1 + K2 + ... outputs in
    the order of the tasks. That is the same function, with the same gradients, as one linear
    layer for each task.

    Args:
        names: of the T tasks.
        sizes: number of classes of each.
        train, test: labels of both parts, (n, T) and (m, T) int64.

    >>> import torch
    >>> tasks = Tasks(("kind", "side"), (3, 2), torch.zeros(5, 2).long(), torch.zeros(4, 2).long())
    >>> tasks.outputs, tasks.columns("side")
    (5, slice(3, 5, None))
    >>> tasks
    Tasks: kind (3 classes), side (2 classes)
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    train: Tensor
    test: Tensor

    def __post_init__(self) -> None:
        for labels in (self.train, self.test):
            if labels.ndim != 2 or labels.dtype != torch.int64:
                raise CounError(
                    f"labels are {labels.dtype} of shape {tuple(labels.shape)}; expected int64 of "
                    "shape (rows, tasks)"
                )
        if not len(self.names) == len(self.sizes) == self.train.shape[1] == self.test.shape[1]:
            raise CounError(
                f"{len(self.names)} tasks, {len(self.sizes)} sizes and labels of "
                f"{self.train.shape[1]} and {self.test.shape[1]} tasks; expected as many of each"
            )
        if len(set(self.names)) < len(self.names):
            raise CounError(f"tasks are called {', '.join(self.names)}; expected different names")
        for place, (name, size) in enumerate(zip(self.names, self.sizes, strict=True)):
            column = torch.cat([self.train[:, place], self.test[:, place]])
            wrong = column[(column < 0) | (column >= size)]
            if len(wrong):
                raise CounError(
                    f"task {name} has a label {int(wrong[0])}; expected 0 to {size - 1}, its "
                    f"{size} classes"
                )

    def __repr__(self) -> str:
        """A line for people: the tasks and their numbers of classes."""
        pairs = zip(self.names, self.sizes, strict=True)
        return "Tasks: " + ", ".join(f"{name} ({size} classes)" for name, size in pairs)

    @property
    def outputs(self) -> int:
        """Number of outputs of a model for all tasks."""
        return sum(self.sizes)

    def place(self, name: str) -> int:
        """Return the position of a task. Raises: CounError for an unknown one."""
        if name not in self.names:
            raise unknown("task", name, self.names)
        return self.names.index(name)

    def columns(self, name: str) -> slice:
        """Return which outputs belong to a task."""
        ends = list(accumulate(self.sizes))
        place = self.place(name)
        return slice(ends[place] - self.sizes[place], ends[place])


@dataclass(frozen=True, eq=False)
class MultiTaskData:
    """Rows, whose own labels are not used, and the tasks over them.

    >>> import coun, torch
    >>> data = coun.load("digits", limit=50)
    >>> labels = [torch.stack([p.labels, p.labels % 2], 1) for p in (data.train, data.test)]
    >>> MultiTaskData(data, Tasks(("digit", "odd"), (10, 2), *labels)).tasks.outputs
    12
    """

    data: Data
    tasks: Tasks

    def __post_init__(self) -> None:
        for labels, part in (
            (self.tasks.train, self.data.train),
            (self.tasks.test, self.data.test),
        ):
            if len(labels) != len(part):
                raise CounError(
                    f"tasks have labels of {len(labels):,} rows, and the data has {len(part):,}; "
                    "expected a label of every row"
                )

    def __repr__(self) -> str:
        """A few lines for people: tasks and data."""
        return f"{self.tasks!r}\n{self.data!r}"
