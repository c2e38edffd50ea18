"""The only training loop: runs a plan's stages, checkpoints, resumes to the same bits."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
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


@dataclass
class Position:
    """Where a run stands: stages finished, then epoch, pass and update inside the next."""

    stage: int = 0
    epoch: int = 0
    sweep: int = 0
    update: int = 0


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
        task, cost = self.task, self.log.cost
        model = task.classifier
        optimizer = stage.optimizer.build(p for p in model.parameters() if p.requires_grad)
        lengths = [_updates(len(task.rows(_first(p))), p.draws[_first(p)]) for p in stage.passes]
        total = stage.epochs * sum(lengths)
        start = Position(number)
        if saved and self._at.stage == number:
            unpack(saved, model.inner, optimizer)
            start = self._at
        model.train()
        done = start.epoch * sum(lengths) + sum(lengths[: start.sweep]) + start.update
        losses = self._losses
        began, images = time.monotonic(), 0
        with (
            Bar(f"{self.title}: {stage.name}", visible=self.progress) as bar,
            torch.random.fork_rng(),
        ):
            for epoch in range(start.epoch, stage.epochs):
                for sweep, one in enumerate(stage.passes):
                    first = start.update if (epoch, sweep) == (start.epoch, start.sweep) else 0
                    if (epoch, sweep) < (start.epoch, start.sweep):
                        continue
                    for update, batches in self._batches(number, epoch, sweep, one, first):
                        began_update = time.monotonic()
                        rate = stage.optimizer.rate(done / total)
                        for group in optimizer.param_groups:
                            group["lr"] = rate
                        where = (number, epoch, sweep, update)
                        torch.manual_seed(task.seeds.number("layers", *where))
                        loss = one.objective(self._step(one, batches, where, done / total))
                        optimizer.zero_grad(set_to_none=True)
                        loss.backward()  # type: ignore[no-untyped-call]
                        optimizer.step()
                        done += 1
                        seen = sum(len(b.labels) for b in batches.values())
                        images += seen
                        cost.updates += 1
                        cost.samples_seen += seen
                        losses.append(loss.detach())
                        last = update + 1 == lengths[sweep]
                        if last or self.compute.device.type == "cpu" or done % 50 == 0:
                            value = self._finite(losses, epoch, update, rate)
                            speed = images / max(time.monotonic() - began, 1e-9)
                            bar.show(done, total, f"loss {value:.3f}  {speed:,.0f} img/s")
                        cost.seconds += time.monotonic() - began_update
                        self._at = Position(number, epoch, sweep, update + 1)
                        if last:
                            mean = float(torch.stack(losses).mean())
                            self._record(stage, epoch, sweep, mean, rate)
                            losses.clear()
                            self._at = Position(*_next(number, epoch, sweep, len(lengths)))
                        self._maybe_save(optimizer)
        if not all(bool(torch.isfinite(p).all()) for p in model.parameters()):
            raise CounError(
                f"the weights after {stage.name} are not finite; expected finite numbers; "
                "try a lower lr, or --precision fp32"
            )
        if self.checkpoint:
            self._at = Position(stage=number + 1)
            self.checkpoint.save(f"stage-{number:03d}", model_tensors(model.inner), {})
            self._save({})

    def _batches(
        self, number: int, epoch: int, sweep: int, one: Pass, skip: int
    ) -> Iterator[tuple[int, dict[str, Batch]]]:
        """Minibatches by role, from update *skip* on; order depends on the position only."""
        task, lead = self.task, _first(one)
        orders = {r: _Order(task, r, size, (number, epoch, sweep)) for r, size in one.draws.items()}
        for update in range(_updates(len(task.rows(lead)), one.draws[lead])):
            chosen = {role: order.at(update) for role, order in orders.items()}
            if update >= skip:
                yield update, {role: self._batch(role, rows) for role, rows in chosen.items()}

    def _batch(self, role: str, rows: Tensor) -> Batch:
        source = self.task.source(role)
        images = source.fetch(rows.to(source.labels.device))
        labels = source.labels[rows.to(source.labels.device)]
        return Batch(images.to(self.compute.device), labels.to(self.compute.device))

    def _step(
        self, one: Pass, batches: dict[str, Batch], where: tuple[int, ...], progress: float
    ) -> Step:
        views = one.views or self.task.data.views

        def view(role: str, number: int, images: Tensor) -> Tensor:
            generator = self.task.seeds.torch("views", *where, role, number)
            return views(images, generator)

        def forward(model: nn.Module, x: Tensor) -> Outputs:
            self.log.cost.count(len(x), self._flops, grad=torch.is_grad_enabled())
            with self.compute.autocast():
                out = model(x)
            return Outputs(out.logits.float(), out.features.float())

        model = self.task.classifier
        return Step(model, batches, view=view, forward=forward, progress=progress)

    def _finite(self, losses: list[Tensor], epoch: int, update: int, rate: float) -> float:
        value = float(torch.stack(losses[-50:]).sum()) if len(losses) > 1 else float(losses[-1])
        if not math.isfinite(value):
            raise CounError(
                f"the loss became {value} in epoch {epoch + 1}, update {update + 1}, at lr "
                f"{rate:.3g}; expected a finite number; try a lower lr, or --precision fp32"
            )
        return float(losses[-1])

    def _record(self, stage: Fit, epoch: int, sweep: int, loss: float, rate: float) -> None:
        row = {
            "stage": stage.name,
            "epoch": epoch + 1,
            "sweep": sweep + 1,
            "loss": loss,
            "lr": rate,
        }
        self.log.history.append(row)

    def _maybe_save(self, optimizer: torch.optim.Optimizer) -> None:
        if self.checkpoint and time.monotonic() - self._saved >= self.checkpoint.every:
            self._save(pack(self.task.classifier.inner, optimizer))

    def _save(self, tensors: dict[str, Tensor]) -> None:
        assert self.checkpoint
        self.log.cost.note_memory(self.compute.device)
        state = {
            "at": vars(self._at),
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


def _next(stage: int, epoch: int, sweep: int, sweeps: int) -> tuple[int, int, int, int]:
    return (stage, epoch, sweep + 1, 0) if sweep + 1 < sweeps else (stage, epoch + 1, 0, 0)
