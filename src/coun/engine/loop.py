"""The only training loop: runs a plan's stages, checkpoints, resumes to the same bits."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, astuple, dataclass, field
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn

from coun.engine.batches import BatchLoader, Loaded, Progress
from coun.engine.checkpoint import Checkpoint, pack, unpack
from coun.engine.cost import Cost, forward_flops
from coun.engine.device import Compute
from coun.engine.frozen import Frozen
from coun.engine.process_group import ProcessGroup
from coun.engine.profile import Profile
from coun.engine.progress_bar import ProgressBar
from coun.engine.stage import Edit, Fit, Phase, Stage
from coun.engine.task import Task
from coun.errors import CounError
from coun.models import Outputs
from coun.objectives.context import Batch, BatchContext

Observer = Callable[[dict[str, Batch]], contextlib.AbstractContextManager[object]]


@dataclass
class Log:
    """What a run leaves behind besides weights: its cost and one row per epoch.

    `preparation` is the part that prepared for requests (`Stage.preparation`); `cost` is the
    rest.
    """

    cost: Cost = field(default_factory=Cost)
    preparation: Cost = field(default_factory=Cost)
    history: list[dict[str, Any]] = field(default_factory=list)
    stages: list[str] = field(default_factory=list)
    profile: dict[str, float] = field(default_factory=dict)


class Engine:
    """Runs stages on one task.

    Args:
        task: data, seeds and the model.
        compute: device and precision.
        checkpoint: where to save on the way; None does not.
        progress: show a bar on standard error.
        title: the bar's first words.
        workers: processes that read images ahead; 0 reads in this one.
        profile: measure where the time goes, into the log.
        observe: entered around each optimizer step, with the minibatches; for plans that
            replay a training and keep what it did.
    """

    def __init__(
        self,
        task: Task,
        compute: Compute,
        *,
        checkpoint: Checkpoint | None = None,
        progress: bool = False,
        title: str = "train",
        workers: int = 0,
        profile: bool = False,
        observe: Observer = lambda batches: contextlib.nullcontext(),
    ) -> None:
        self.task = task
        self.compute = compute
        self.ranks = ProcessGroup.current()
        self.workers = workers
        self.observe = observe
        self.checkpoint = checkpoint
        self.progress = progress
        self.title = title
        self.profile = Profile(profile, compute.device)
        self.log = Log(task.cost)
        self._at = Progress()
        self._model = task.classifier  # what the present stage trains
        self._beside: tuple[nn.Module, ...] = ()  # and along with it
        self._flops: dict[nn.Module, float] = {task.classifier: task.flops}
        self._losses: list[float] = []  # of the sweep so far
        self._unread: list[Tensor] = []  # the last of them; reading each would wait for a GPU
        self._tick = 0.0
        self._saved = time.monotonic()

    def run(self, stages: Iterable[Stage]) -> Log:
        """Do every stage in order, or what is left of them after an interruption.

        Raises: CounError if the loss stops being finite.
        """
        model = self.task.classifier.inner
        self.compute.to_device(model)
        self.ranks.barrier()  # until what an earlier run wrote is all there
        resumed = self.checkpoint.load("step") if self.checkpoint else None
        if resumed:
            _, state = resumed
            self._at = Progress(**state["at"])
            self.log.history = state["history"]
            self._losses = state["losses"]
        done = self._at.stage
        self._tick = time.monotonic()
        for number, stage in enumerate(stages):
            self.log.stages.append(stage.name)
            self._model = (isinstance(stage, Fit) and stage.model) or self.task.classifier
            self.task.cost = self.log.preparation if stage.preparation else self.log.cost
            if isinstance(stage, Edit):
                # Edits are done again on a resume: what later stages captured from them
                # (teachers, masks) is rebuilt, and they are exact functions of the weights.
                with self.task.seeds.as_global("edit", number):
                    stage.apply(model)
            elif number < done:
                self._restore_stage(number, stage)
            # What is done again is not paid again; what stage `done` computes before its first
            # update is, unless that is on the bill already.
            if resumed and (number < done or (number == done and self._at != Progress(done))):
                self.log.cost.set(resumed[1]["cost"])
                self.log.preparation.set(resumed[1]["preparation"])
            if isinstance(stage, Fit) and number >= done:
                self._fit(number, stage, resumed[0] if resumed and number == done else None)
            if number >= done:
                self._at = Progress(stage=number + 1)
            self._clock()
            self.task.cost = self.log.cost
        self.log.cost.note_memory(self.compute.device)
        self.log.profile = self.profile.seconds
        return self.log

    def _clock(self) -> None:
        """Charge the time since the last call."""
        now = time.monotonic()
        self.task.cost.seconds += now - self._tick
        self._tick = now

    def _restore_stage(self, number: int, stage: Fit) -> None:
        found = self.checkpoint.load(f"stage-{number:03d}") if self.checkpoint else None
        if found is None:
            raise CounError(
                f"the checkpoint of stage {number} is gone; delete the folder to start again"
            )
        unpack(found[0], self._model.inner, stage.modules)

    def _fit(self, number: int, stage: Fit, saved: dict[str, Tensor] | None) -> None:
        model, cost, self._beside = self._model, self.task.cost, stage.modules
        for module in stage.modules:
            module.to(self.compute.device)
        start = Progress(number)
        with Frozen(model.inner, stage.mask) as frozen, torch.random.fork_rng():
            optimizer = stage.optimizer.build(
                p for m in (model, *stage.modules) for p in m.parameters() if p.requires_grad
            )
            if saved:
                unpack(saved, model.inner, stage.modules, optimizer)
                start = self._at
            feed = BatchLoader(self.task, stage, ranks=self.ranks, workers=self.workers)
            done, total = feed.done(feed.first(start)), feed.total
            forward = self.compute.compiled(self.ranks.wrap(model))
            frozen.set_modes()
            began, before = time.monotonic(), cost.samples_seen
            with ProgressBar(f"{self.title}: {stage.name}", visible=self._shows) as bar:
                batches = feed.batches(start)
                while done < total:
                    with self.profile.part("loading"):
                        at, one, loaded = next(batches)
                    rate = stage.optimizer.rate(done / total)
                    self._update(at, one, forward, loaded, optimizer, rate, done / total)
                    frozen.restore()
                    done += 1
                    following = feed.next(at)
                    last = following.phase != at.phase or following.epoch != at.epoch
                    if last or done % 50 == 0 or self.compute.device.type == "cpu":
                        value = self._finite(at, rate)
                        speed = (cost.samples_seen - before) / max(time.monotonic() - began, 1e-9)
                        bar.show(done, total, f"loss {value:.3f}  {speed:,.0f} img/s")
                    if last:
                        self._record(stage, at, rate)
                    self._at = following
                    self._clock()
                    if self.checkpoint and self._tick - self._saved >= self.checkpoint.every:
                        with self.profile.part("checkpoint"):
                            self._save(pack(model.inner, stage.modules, optimizer))
            optimizer.zero_grad(set_to_none=True)  # gradients are not part of the result
        if not all(bool(torch.isfinite(p).all()) for p in model.parameters()):
            raise CounError(
                f"the weights after {stage.name} are not finite; expected finite numbers; "
                "try a lower lr, or --precision fp32"
            )
        self.ranks.sync_buffers(model)
        if self.checkpoint:
            self._at = Progress(number + 1)
            self._write(f"stage-{number:03d}", pack(model.inner, stage.modules), {})
            self._save({})

    def _update(
        self,
        at: Progress,
        one: Phase,
        forward: nn.Module,
        loaded: Loaded,
        optimizer: torch.optim.Optimizer,
        rate: float,
        progress: float,
    ) -> None:
        """One optimizer step. Layers that draw from the global generator (dropout) find it
        seeded by the position."""
        for group in optimizer.param_groups:
            group["lr"] = rate
        torch.manual_seed(self.task.seeds.number("layers", *self._where(at)))
        device = self.compute.device
        batches = {
            role: Batch(x.to(device), y.to(device), rows) for role, (x, y, rows) in loaded.items()
        }
        with self.profile.part("losses"):
            loss = one.objective(self._step(at, one, forward, batches, progress))
        optimizer.zero_grad(set_to_none=True)
        with self.profile.part("backward"):
            loss.backward()  # type: ignore[no-untyped-call]
            self.ranks.average(self._beside)
        with self.profile.part("optimizer"), self.observe(batches):
            optimizer.step()
        self._unread.append(loss.detach())
        self.task.cost.steps += 1
        self.task.cost.samples_seen += self.ranks.count * sum(
            len(b.labels) for b in batches.values()
        )

    def _step(
        self,
        at: Progress,
        one: Phase,
        training: nn.Module,
        batches: dict[str, Batch],
        progress: float,
    ) -> BatchContext:
        given, own = one.views, self.task.data.views
        ranks = self.ranks

        def view(role: str, number: int, images: Tensor) -> Tensor:
            generator = self.task.seeds.torch("views", *self._where(at), role, number)
            views = given.get(number, own) if isinstance(given, Mapping) else given or own
            with self.profile.part("augmentation"):
                return views(images, generator)

        def forward(model: nn.Module, x: Tensor) -> Outputs:
            if model not in self._flops:
                self._flops[model] = forward_flops(model, x[:1].detach())
            flops = self._flops[model]
            self.task.cost.count(len(x) * ranks.count, flops, grad=torch.is_grad_enabled())
            run = training if model is self._model else model
            with self.profile.part("forward"), self.compute.autocast():
                out = run(x)
            logits, features = out.logits.float(), out.features.float()
            return Outputs(
                logits, ranks.keep_head_in_graph(features, logits) if run is training else features
            )

        return BatchContext(
            self._model,
            batches,
            view=view,
            forward=forward,
            generator=lambda purpose: self.task.seeds.torch(purpose, *self._where(at)),
            gather=ranks.gather,
            progress=progress,
        )

    def _where(self, at: Progress) -> tuple[int | str, ...]:
        """The path of the random streams of one update; ranks draw their own."""
        return (*astuple(at), *([f"rank {self.ranks.rank}"] if self.ranks.rank else []))

    @property
    def _shows(self) -> bool:
        return self.progress and self.ranks.is_main

    def _finite(self, at: Progress, rate: float) -> float:
        """The last loss, once all since the last look are known to be finite. All ranks see
        the same, so that all stop."""
        recent = self.ranks.mean(_numbers(self._unread))
        self._unread.clear()
        self._losses += recent
        if not all(map(math.isfinite, recent)):
            raise CounError(
                f"the loss became {recent[-1]} in epoch {at.epoch + 1}, update {at.step + 1}, at "
                f"lr {rate:.3g}; expected a finite number; try a lower lr, or --precision fp32"
            )
        return recent[-1]

    def _record(self, stage: Fit, at: Progress, rate: float) -> None:
        loss = fmean(self._losses)
        row = {"stage": stage.name, "epoch": at.epoch + 1, "sweep": at.phase + 1}
        self.log.history.append({**row, "loss": loss, "lr": rate})
        self._losses.clear()

    def _save(self, tensors: dict[str, Tensor]) -> None:
        self.task.cost.note_memory(self.compute.device)
        state = {
            "at": asdict(self._at),
            "cost": self.log.cost.to_json(),
            "preparation": self.log.preparation.to_json(),
            "history": self.log.history,
            "losses": self._losses + _numbers(self._unread),
        }
        self._write("step", tensors, state)
        self._saved = time.monotonic()

    def _write(self, name: str, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        if self.checkpoint and self.ranks.is_main:
            self.checkpoint.save(name, tensors, state)


def _numbers(losses: list[Tensor]) -> list[float]:
    return [float(x) for x in torch.stack(losses).tolist()] if losses else []
