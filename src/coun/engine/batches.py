"""Which rows each step reads, as a function of its position; and loading them.

The batches of a phase differ in size by one row at most. A DataLoader leaves a short last batch,
whose few rows weigh as much as a full batch, and BatchNorm enters evaluation with the statistics
of these rows. How short it is depends on the number of retained rows: on 1,000 CIFAR-10 images,
the last batch of the Original had 40 rows and that of Retrain had 4, and Retrain's retain
accuracy was 20 points lower because of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from coun.data import Examples
from coun.engine.device import sent
from coun.engine.process_group import ProcessGroup
from coun.engine.stage import Fit, Phase
from coun.engine.task import Task

Slots = dict[str, tuple[str, Tensor]]  # by role: the role that rows come from, and slots in it
Loaded = dict[str, tuple[Tensor, Tensor, Tensor]]  # by role: images, labels, slots


@dataclass(frozen=True)
class Progress:
    """The position of a run: finished stages, then epoch, phase and step in the next stage."""

    stage: int = 0
    epoch: int = 0
    phase: int = 0
    step: int = 0


class BatchLoader:
    """The minibatches of one `Fit`, from any position on.

    Args:
        task: data and seeds.
        stage: the stage to load batches for.
        group: the data-parallel processes; each loads its share of every batch.
        workers: number of processes that load images ahead of the loop, as in a torch DataLoader;
            0 loads in this one. Only data that is read from disk gains from it.
    """

    def __init__(self, task: Task, stage: Fit, *, group: ProcessGroup, workers: int = 0) -> None:
        self.task, self.stage, self.group, self.workers = task, stage, group, workers
        self.total = sum(sum(self.lengths(epoch)) for epoch in range(stage.epochs))

    def lengths(self, epoch: int) -> list[int]:
        """Return the number of steps of each phase in *epoch*; 0 for one that is left out."""
        return [
            0
            if phase.until_epoch is not None and epoch >= phase.until_epoch
            else self._length(phase)
            for phase in self.stage.phases
        ]

    def _length(self, phase: Phase) -> int:
        if phase.steps is not None:
            return phase.steps
        role, size = next(iter(phase.batch_sizes.items()))
        rows = len(self.task.indices(phase.source_of(role)))
        return steps_per_epoch(rows, size, self.group.count)

    def first(self, at: Progress) -> Progress:
        """Return *at*, or the first position after it that has a step."""
        while at.epoch < self.stage.epochs:
            lengths = self.lengths(at.epoch)
            if at.phase < len(lengths) and at.step < lengths[at.phase]:
                return at
            if at.phase + 1 < len(lengths):
                at = replace(at, phase=at.phase + 1, step=0)
            else:
                at = Progress(at.stage, at.epoch + 1)
        return at

    def next(self, at: Progress) -> Progress:
        """Return the position of the step after *at*."""
        return self.first(replace(at, step=at.step + 1))

    def done(self, at: Progress) -> int:
        """Return the number of steps before *at*."""
        before = sum(sum(self.lengths(epoch)) for epoch in range(at.epoch))
        within = self.lengths(at.epoch)[: at.phase] if at.epoch < self.stage.epochs else []
        return before + sum(within) + at.step

    def batches(self, start: Progress) -> Iterator[tuple[Progress, Phase, Loaded]]:
        """Yield every step from *start* on, with images and labels by role."""
        names = {phase.source_of(r) for phase in self.stage.phases for r in phase.batch_sizes}
        reader = _Reader({name: self.task.source(name) for name in names})
        if self.workers == 0:
            for at, slots in self._slots(start):
                yield at, self.stage.phases[at.phase], reader[at, slots][1]
            return
        loader: DataLoader[Any] = DataLoader(
            reader,
            batch_size=None,
            sampler=self._slots(start),
            num_workers=self.workers,
            generator=torch.Generator(),  # otherwise it draws from the global generator
        )
        for at, loaded in loader:
            yield at, self.stage.phases[at.phase], loaded

    def _slots(self, at: Progress) -> Iterator[tuple[Progress, Slots]]:
        at = self.first(at)
        present, samplers = (-1, -1), dict[str, tuple[str, _BatchSampler]]()
        while at.epoch < self.stage.epochs:
            if (at.epoch, at.phase) != present:
                present = (at.epoch, at.phase)
                samplers = self._samplers(at)
            slots = {
                role: (name, self.group.shard(sampler.at(at.step)))
                for role, (name, sampler) in samplers.items()
            }
            yield at, slots
            at = self.next(at)

    def _samplers(self, at: Progress) -> dict[str, tuple[str, _BatchSampler]]:
        phase, where = self.stage.phases[at.phase], (at.stage, at.epoch, at.phase)
        return {
            role: (name, _BatchSampler(self.task, name, size, where, self.group))
            for role, size in phase.batch_sizes.items()
            for name in [phase.source_of(role)]
        }


class _Reader(Dataset[tuple[Progress, Loaded]]):
    """Maps slots by role to images and labels by role; this is what a loading process runs."""

    def __init__(self, sources: dict[str, Examples]) -> None:
        self.sources = sources

    def __getitem__(self, item: tuple[Progress, Slots]) -> tuple[Progress, Loaded]:
        at, slots_by_role = item
        loaded = {}
        for role, (name, slots) in slots_by_role.items():
            source = self.sources[name]
            on_device = sent(slots, source.labels.device)
            loaded[role] = source.fetch(on_device), source.labels[on_device], slots
        return at, loaded


class _BatchSampler:
    """The slots of each step of one role, with a new permutation whenever they run out."""

    def __init__(
        self, task: Task, role: str, size: int, where: tuple[int, ...], group: ProcessGroup
    ) -> None:
        self.count, self.processes = len(task.indices(role)), group.count
        self.seeds = task.seeds.fork("order", *where, role)
        self.length = steps_per_epoch(self.count, size, group.count)
        self.round, self.order = -1, torch.empty(0)

    def at(self, step: int) -> Tensor:
        round, place = divmod(step, self.length)
        if round != self.round:
            self.order = torch.randperm(self.count, generator=self.seeds.torch(round))
            self.round = round
        groups = self.count // self.processes  # so that every process gets equally many
        start, end = (groups * k // self.length * self.processes for k in (place, place + 1))
        return self.order[start:end]


def steps_per_epoch(rows: int, size: int, processes: int = 1) -> int:
    """Return the number of steps of one pass over *rows* with batches of about *size*.

    No step leaves a process with a single row, which BatchNorm cannot normalise, unless *size*
    demands it.

    >>> steps_per_epoch(100, 32), steps_per_epoch(3, 2)
    (4, 1)
    """
    most = rows // (2 * processes) if size >= 2 * processes else rows
    return max(1, min(math.ceil(rows / size), most))
