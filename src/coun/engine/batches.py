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
from coun.engine.process_group import ProcessGroup
from coun.engine.stage import Fit, Phase
from coun.engine.task import Task

Rows = dict[str, tuple[str, Tensor]]  # by role: whose, and which
Loaded = dict[str, tuple[Tensor, Tensor, Tensor]]  # by role: images, labels, rows


@dataclass(frozen=True)
class Progress:
    """Where a run stands: stages finished, then epoch, pass and update inside the next."""

    stage: int = 0
    epoch: int = 0
    phase: int = 0
    step: int = 0


class BatchLoader:
    """The minibatches of one `Fit`, from any position on.

    Args:
        workers: processes that read images ahead of the loop, as a torch DataLoader does it;
            0 reads in this one. Only data that streams gains by it.
        ranks: the data-parallel processes; each reads its share of every batch.
    """

    def __init__(self, task: Task, stage: Fit, *, ranks: ProcessGroup, workers: int = 0) -> None:
        self.task, self.stage, self.ranks, self.workers = task, stage, ranks, workers
        self.total = sum(sum(self.lengths(epoch)) for epoch in range(stage.epochs))

    def lengths(self, epoch: int) -> list[int]:
        """Updates of each pass in *epoch*; 0 for one that is over."""
        return [
            0 if one.until_epoch is not None and epoch >= one.until_epoch else self._length(one)
            for one in self.stage.phases
        ]

    def _length(self, one: Phase) -> int:
        if one.steps is not None:
            return one.steps
        role, size = next(iter(one.batch_sizes.items()))
        return steps_per_epoch(
            len(self.task.rows(one.roles.get(role, role))), size, self.ranks.count
        )

    def first(self, at: Progress) -> Progress:
        """*at*, or the first position after it that has an update."""
        while at.epoch < self.stage.epochs:
            lengths = self.lengths(at.epoch)
            if at.phase < len(lengths) and at.step < lengths[at.phase]:
                return at
            later = at.phase + 1 < len(lengths)
            at = (
                replace(at, phase=at.phase + 1, step=0)
                if later
                else Progress(at.stage, at.epoch + 1)
            )
        return at

    def next(self, at: Progress) -> Progress:
        """The position one update on."""
        return self.first(replace(at, step=at.step + 1))

    def done(self, at: Progress) -> int:
        """Updates that lie before *at*."""
        before = sum(sum(self.lengths(epoch)) for epoch in range(at.epoch))
        within = self.lengths(at.epoch)[: at.phase] if at.epoch < self.stage.epochs else []
        return before + sum(within) + at.step

    def batches(self, start: Progress) -> Iterator[tuple[Progress, Phase, Loaded]]:
        """Every update from *start* on, with images and labels by role."""
        names = {one.roles.get(r, r) for one in self.stage.phases for r in one.batch_sizes}
        reader = _Reader({name: self.task.source(name) for name in names})
        if self.workers == 0:
            for at, rows in self._rows(start):
                yield at, self.stage.phases[at.phase], reader[at, rows][1]
            return
        loader: DataLoader[Any] = DataLoader(
            reader,
            batch_size=None,
            sampler=self._rows(start),
            num_workers=self.workers,
            generator=torch.Generator(),  # else it draws from the global one
        )
        for at, loaded in loader:
            yield at, self.stage.phases[at.phase], loaded

    def _rows(self, at: Progress) -> Iterator[tuple[Progress, Rows]]:
        at = self.first(at)
        phase, orders = (-1, -1), dict[str, tuple[str, _BatchSampler]]()
        while at.epoch < self.stage.epochs:
            if (at.epoch, at.phase) != phase:
                phase = (at.epoch, at.phase)
                orders = self._orders(at)
            yield (
                at,
                {
                    role: (name, self.ranks.shard(order.at(at.step)))
                    for role, (name, order) in orders.items()
                },
            )
            at = self.next(at)

    def _orders(self, at: Progress) -> dict[str, tuple[str, _BatchSampler]]:
        one, where = self.stage.phases[at.phase], (at.stage, at.epoch, at.phase)
        return {
            role: (name, _BatchSampler(self.task, name, size, where, self.ranks))
            for role, size in one.batch_sizes.items()
            for name in [one.roles.get(role, role)]
        }


class _Reader(Dataset[tuple[Progress, Loaded]]):
    """Rows by role to images and labels by role; what a loading process runs."""

    def __init__(self, sources: dict[str, Examples]) -> None:
        self.sources = sources

    def __getitem__(self, item: tuple[Progress, Rows]) -> tuple[Progress, Loaded]:
        at, wanted = item
        loaded = {}
        for role, (name, rows) in wanted.items():
            source = self.sources[name]
            there = rows.to(source.labels.device)
            loaded[role] = source.fetch(there), source.labels[there], rows
        return at, loaded


class _BatchSampler:
    """The rows of each update of one role; a new permutation each time they run out.

    Batches of one sweep differ by one row at most. A short last one, as a DataLoader makes it,
    would weigh its few rows as much as a full batch, and BatchNorm would go into evaluation
    with their statistics: by how many rows were forgotten, one model would be hurt and not
    another.
    """

    def __init__(
        self, task: Task, role: str, size: int, where: tuple[int, ...], ranks: ProcessGroup
    ) -> None:
        self.count, self.ranks = len(task.rows(role)), ranks.count
        self.seeds = task.seeds.fork("order", *where, role)
        self.length = steps_per_epoch(self.count, size, ranks.count)
        self.round, self.rows = -1, torch.empty(0)

    def at(self, update: int) -> Tensor:
        turn, place = divmod(update, self.length)
        if turn != self.round:
            self.rows = torch.randperm(self.count, generator=self.seeds.torch(turn))
            self.round = turn
        groups = self.count // self.ranks  # so that every rank gets as many
        start, end = (groups * k // self.length * self.ranks for k in (place, place + 1))
        return self.rows[start:end]


def steps_per_epoch(rows: int, size: int, ranks: int = 1) -> int:
    """Updates in one sweep: as many as batches of *size* take, but none that leaves a rank one
    row, which BatchNorm cannot centre, unless *size* asks for it."""
    most = rows // (2 * ranks) if size >= 2 * ranks else rows
    return max(1, min(math.ceil(rows / size), most))
