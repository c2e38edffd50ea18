"""The only training loop: runs a plan's stages, checkpoints, resumes to the same bits."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, astuple, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from coun.engine.checkpoint import Checkpoint, model_tensors, pack, unpack
from coun.engine.cost import Cost
from coun.engine.device import Compute
from coun.engine.progress import Bar
from coun.engine.stage import Edit, Fit, Pass, Stage
from coun.engine.task import Task
from coun.errors import CounError
from coun.models import Outputs
from coun.objectives.step import Batch, Step


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


@dataclass
class Log:
    """What a run leaves behind besides weights: its cost and one row per epoch."""

    cost: Cost = field(default_factory=Cost)
    history: list[dict[str, Any]] = field(default_factory=list)
    stages: list[str] = field(default_factory=list)


class Engine:
    """Runs stages on one task.

    Args:
        task: data, seeds and the model.
        compute: device and precision.
        flops: of one forward of one image, for the cost.
        checkpoint: where to save on the way; None does not.
        progress: show a bar on standard error.
        title: the bar's first words.
    """

    def __init__(
        self,
        task: Task,
        compute: Compute,
        *,
        flops: float = 0.0,
        checkpoint: Checkpoint | None = None,
        progress: bool = False,
        title: str = "train",
    ) -> None:
        self.task = task
        self.compute = compute
        self.checkpoint = checkpoint
        self.progress = progress
        self.title = title
        self.log = Log()
        self._at = Position()
        self._losses: list[Tensor] = []  # of the sweep so far
        self._flops = flops
        self._saved = time.monotonic()

    def run(self, stages: Iterable[Stage]) -> Log:
        """Do every stage in order, or what is left of them after an interruption.

        Raises: CounError if the loss stops being finite.
        """
        model = self.task.classifier.inner
        self.compute.place(model)
        resumed = self.checkpoint.load("step") if self.checkpoint else None
        if resumed:
            _, state = resumed
            self._at = Position(**state["at"])
            self.log.cost = Cost(**state["cost"])
            self.log.history = state["history"]
            self._losses = list(torch.tensor(state["losses"], device=self.compute.device))
        done = self._at.stage
        for number, stage in enumerate(stages):
            self.log.stages.append(stage.name)
            if isinstance(stage, Edit):
                # Edits are done again on a resume: what later stages captured from them
                # (teachers, masks) is rebuilt, and they are exact functions of the weights.
                with self.task.seeds.as_global("edit", number):
                    stage.apply(model)
            elif number < done:
                self._restore_stage(number, model)
            else:
                self._fit(number, stage, resumed[0] if resumed and number == done else None)
            if number >= done:
                self._at = Position(stage=number + 1)
        self.log.cost.note_memory(self.compute.device)
        return self.log

    def _restore_stage(self, number: int, model: nn.Module) -> None:
        found = self.checkpoint.load(f"stage-{number:03d}") if self.checkpoint else None
        if found is None:
            raise CounError(
                f"the checkpoint of stage {number} is gone; delete the folder to start again"
            )
        model.load_state_dict({k[6:]: v for k, v in found[0].items()})

    def _fit(self, number: int, stage: Fit, saved: dict[str, Tensor] | None) -> None:
        model, cost = self.task.classifier, self.log.cost
        optimizer = stage.optimizer.build(p for p in model.parameters() if p.requires_grad)
        start = Position(number)
        if saved:
            unpack(saved, model.inner, optimizer)
            start = self._at
        lengths = [
            _updates(len(self.task.rows(_first(p))), p.draws[_first(p)]) for p in stage.passes
        ]
        total = stage.epochs * sum(lengths)
        done = start.epoch * sum(lengths) + sum(lengths[: start.sweep]) + start.update
        model.train()
        began, before = time.monotonic(), cost.samples_seen
        tick = began
        with (
            Bar(f"{self.title}: {stage.name}", visible=self.progress) as bar,
            torch.random.fork_rng(),
        ):
            for at, one, batches in self._upcoming(stage, start, lengths):
                rate = stage.optimizer.rate(done / total)
                self._update(at, one, batches, optimizer, rate, done / total)
                done += 1
                last = at.update + 1 == lengths[at.sweep]
                if last or done % 50 == 0 or self.compute.device.type == "cpu":
                    value = self._finite(at, rate)
                    speed = (cost.samples_seen - before) / max(time.monotonic() - began, 1e-9)
                    bar.show(done, total, f"loss {value:.3f}  {speed:,.0f} img/s")
                if last:
                    self._record(stage, at, rate)
                self._at = at.next(lengths)
                now = time.monotonic()
                cost.seconds += now - tick
                tick = now
                if self.checkpoint and now - self._saved >= self.checkpoint.every:
                    self._save(pack(model.inner, optimizer))
        if not all(bool(torch.isfinite(p).all()) for p in model.parameters()):
            raise CounError(
                f"the weights after {stage.name} are not finite; expected finite numbers; "
                "try a lower lr, or --precision fp32"
            )
        if self.checkpoint:
            self._at = Position(number + 1)
            self.checkpoint.save(f"stage-{number:03d}", model_tensors(model.inner), {})
            self._save({})

    def _update(
        self,
        at: Position,
        one: Pass,
        batches: dict[str, Batch],
        optimizer: torch.optim.Optimizer,
        rate: float,
        progress: float,
    ) -> None:
        """One optimizer step. Layers that draw from the global generator (dropout) find it
        seeded by the position."""
        for group in optimizer.param_groups:
            group["lr"] = rate
        torch.manual_seed(self.task.seeds.number("layers", *astuple(at)))
        loss = one.objective(self._step(at, one, batches, progress))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        self._losses.append(loss.detach())
        self.log.cost.updates += 1
        self.log.cost.samples_seen += sum(len(b.labels) for b in batches.values())

    def _upcoming(
        self, stage: Fit, at: Position, lengths: list[int]
    ) -> Iterator[tuple[Position, Pass, dict[str, Batch]]]:
        """Every update from *at* on, with its minibatches; order follows from the position."""
        while at.epoch < stage.epochs:
            one = stage.passes[at.sweep]
            sweep = (at.stage, at.epoch, at.sweep)
            orders = {role: _Order(self.task, role, n, sweep) for role, n in one.draws.items()}
            for _ in range(at.update, lengths[at.sweep]):
                rows = {role: order.at(at.update) for role, order in orders.items()}
                yield at, one, {role: self._batch(role, r) for role, r in rows.items()}
                at = at.next(lengths)

    def _batch(self, role: str, rows: Tensor) -> Batch:
        source = self.task.source(role)
        images = source.fetch(rows.to(source.labels.device))
        labels = source.labels[rows.to(source.labels.device)]
        return Batch(images.to(self.compute.device), labels.to(self.compute.device))

    def _step(self, at: Position, one: Pass, batches: dict[str, Batch], progress: float) -> Step:
        views = one.views or self.task.data.views

        def view(role: str, number: int, images: Tensor) -> Tensor:
            generator = self.task.seeds.torch("views", *astuple(at), role, number)
            return views(images, generator)

        def forward(model: nn.Module, x: Tensor) -> Outputs:
            self.log.cost.count(len(x), self._flops, grad=torch.is_grad_enabled())
            with self.compute.autocast():
                out = model(x)
            return Outputs(out.logits.float(), out.features.float())

        model = self.task.classifier
        return Step(model, batches, view=view, forward=forward, progress=progress)

    def _finite(self, at: Position, rate: float) -> float:
        """The last loss, once all since the last look are known to be finite."""
        recent = torch.stack(self._losses[-50:])
        if not bool(torch.isfinite(recent).all()):
            raise CounError(
                f"the loss became {float(recent[-1])} in epoch {at.epoch + 1}, update "
                f"{at.update + 1}, at lr {rate:.3g}; expected a finite number; try a lower lr, or "
                "--precision fp32"
            )
        return float(recent[-1])

    def _record(self, stage: Fit, at: Position, rate: float) -> None:
        loss = float(torch.stack(self._losses).mean())
        row = {"stage": stage.name, "epoch": at.epoch + 1, "sweep": at.sweep + 1}
        self.log.history.append({**row, "loss": loss, "lr": rate})
        self._losses.clear()

    def _save(self, tensors: dict[str, Tensor]) -> None:
        assert self.checkpoint
        self.log.cost.note_memory(self.compute.device)
        state = {
            "at": asdict(self._at),
            "cost": self.log.cost.to_json(),
            "history": self.log.history,
            "losses": torch.stack(self._losses).tolist() if self._losses else [],
        }
        self.checkpoint.save("step", tensors, state)
        self._saved = time.monotonic()


class _Order:
    """The rows of each update of one role; a new permutation each time they run out."""

    def __init__(self, task: Task, role: str, size: int, where: tuple[int, ...]) -> None:
        self.count, self.size = len(task.rows(role)), size
        self.seeds = task.seeds.fork("order", *where, role)
        self.length = _updates(self.count, size)
        self.round, self.rows = -1, torch.empty(0)

    def at(self, update: int) -> Tensor:
        turn, place = divmod(update, self.length)
        if turn != self.round:
            self.rows = torch.randperm(self.count, generator=self.seeds.torch(turn))
            self.round = turn
        return self.rows[place * self.size : (place + 1) * self.size]


def _updates(rows: int, size: int) -> int:
    """Updates in one sweep. A last batch of one row is left out: BatchNorm cannot centre it."""
    return max(1, math.ceil(rows / size) - (size > 1 and rows % size == 1))


def _first(one: Pass) -> str:
    return next(iter(one.draws))
