"""Which rows each update draws, as a function of its position; and their loading."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from coun.data import Examples
from coun.engine.ranks import Ranks
from coun.engine.stage import Fit, Pass
from coun.engine.task import Task

Rows = dict[str, Tensor]
Loaded = dict[str, tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Position:
    """Where a run stands: stages finished, then epoch, pass and update inside the next."""

    stage: int = 0
    epoch: int = 0
    sweep: int = 0
    update: int = 0

    def next(self, lengths: list[int]) -> Position:
        """The position one update on; *lengths* are the updates of each pass."""
        if self.update + 1 < lengths[self.sweep]:
            return replace(self, update=self.update + 1)
        if self.sweep + 1 < len(lengths):
            return replace(self, sweep=self.sweep + 1, update=0)
        return Position(self.stage, self.epoch + 1)


class Feed:
    """The minibatches of one `Fit`, from any position on.

    Args:
        workers: processes that read images ahead of the loop, as a torch DataLoader does it;
            0 reads in this one. Only data that streams gains by it.
        ranks: the data-parallel processes; each reads its share of every batch.
    """

    def __init__(self, task: Task, stage: Fit, *, ranks: Ranks, workers: int = 0) -> None:
        self.task, self.stage, self.ranks, self.workers = task, stage, ranks, workers
        self.lengths = [
            updates(len(task.rows(first)), one.draws[first], ranks.count)
            for one in stage.passes
            for first in [next(iter(one.draws))]
        ]
        self.total = stage.epochs * sum(self.lengths)

    def done(self, at: Position) -> int:
        """Updates that lie before *at*."""
        return at.epoch * sum(self.lengths) + sum(self.lengths[: at.sweep]) + at.update

    def batches(self, start: Position) -> Iterator[tuple[Position, Pass, Loaded]]:
        """Every update from *start* on, with images and labels by role."""
        sources = {r: self.task.source(r) for one in self.stage.passes for r in one.draws}
        reader = _Reader(sources)
        if self.workers == 0:
            for at, rows in self._rows(start):
                yield at, self.stage.passes[at.sweep], reader[at, rows][1]
            return
        loader: DataLoader[Any] = DataLoader(
            reader,
            batch_size=None,
            sampler=self._rows(start),
            num_workers=self.workers,
            generator=torch.Generator(),  # else it draws from the global one
        )
        for at, loaded in loader:
            yield at, self.stage.passes[at.sweep], loaded

    def _rows(self, at: Position) -> Iterator[tuple[Position, Rows]]:
        while at.epoch < self.stage.epochs:
            draws = self.stage.passes[at.sweep].draws
            sweep = (at.stage, at.epoch, at.sweep)
            orders = {
                role: _Order(self.task, role, n, sweep, self.ranks) for role, n in draws.items()
            }
            for _ in range(at.update, self.lengths[at.sweep]):
                whole = {role: order.at(at.update) for role, order in orders.items()}
                yield at, {role: self.ranks.share(rows) for role, rows in whole.items()}
                at = at.next(self.lengths)


class _Reader(Dataset[tuple[Position, Loaded]]):
    """Rows by role to images and labels by role; what a loading process runs."""

    def __init__(self, sources: dict[str, Examples]) -> None:
        self.sources = sources

    def __getitem__(self, item: tuple[Position, Rows]) -> tuple[Position, Loaded]:
        at, wanted = item
        loaded = {}
        for role, rows in wanted.items():
            source = self.sources[role]
            rows = rows.to(source.labels.device)
            loaded[role] = source.fetch(rows), source.labels[rows]
        return at, loaded


class _Order:
    """The rows of each update of one role; a new permutation each time they run out."""

    def __init__(
        self, task: Task, role: str, size: int, where: tuple[int, ...], ranks: Ranks
    ) -> None:
        self.count, self.size = len(task.rows(role)), size
        self.seeds = task.seeds.fork("order", *where, role)
        self.length = updates(self.count, size, ranks.count)
        self.round, self.rows = -1, torch.empty(0)

    def at(self, update: int) -> Tensor:
        turn, place = divmod(update, self.length)
        if turn != self.round:
            self.rows = torch.randperm(self.count, generator=self.seeds.torch(turn))
            self.round = turn
        return self.rows[place * self.size : (place + 1) * self.size]


def updates(rows: int, size: int, ranks: int = 1) -> int:
    """Updates in one sweep. A last batch that leaves a rank one row, which BatchNorm cannot
    centre, is left out."""
    short = size >= 2 * ranks and 0 < rows % size < 2 * ranks
    return max(1, math.ceil(rows / size) - short)
