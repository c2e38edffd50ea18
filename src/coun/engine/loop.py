"""The only training loop: it runs the stages of a plan, saves checkpoints, and resumes."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, astuple
from typing import Any

import torch
from torch import Tensor, nn

from coun.engine.batches import BatchLoader, Loaded, Progress
from coun.engine.checkpoint import Checkpoint, pack, unpack
from coun.engine.cost import forward_flops
from coun.engine.device import Compute, fixed_algorithms, seed_layers, sent
from coun.engine.frozen import Frozen
from coun.engine.log import Log
from coun.engine.losses import Losses
from coun.engine.optimizer import Optimizers, set_rate
from coun.engine.process_group import ProcessGroup
from coun.engine.profile import Profile
from coun.engine.progress_bar import ProgressBar
from coun.engine.stage import Edit, Fit, Phase, Stage
from coun.engine.task import Task
from coun.errors import CounError
from coun.models import Outputs
from coun.objectives.context import Batch, BatchContext
from coun.seeds import restored_generator

Observer = Callable[[dict[str, Batch]], contextlib.AbstractContextManager[object]]
OnEpoch = Callable[[dict[str, Any]], object]  # takes a row of `Log.history`


class Engine:
    """Runs the stages of a plan on one task.

    Args:
        task: data, seeds and the model.
        compute: device and precision.
        checkpoint: where to save during the run; None saves nothing.
        progress: whether to show a bar on standard error.
        title: the first words of the bar.
        workers: number of processes that load images ahead; 0 loads in this one.
        profile: whether to measure where the time goes, into the log.
        observe: entered around each optimizer step, with the minibatches; for plans that replay a
            training and record what it did.
        after_epoch: called with the number of epochs that a stage has finished.
        on_epoch: called with every new row of the history, in the main process only.

    >>> from coun.data import load
    >>> from coun.models import Classifier
    >>> from coun.objectives import cross_entropy
    >>> from coun.seeds import Seeds
    >>> data, net = load("digits", limit=20), nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    >>> model = Classifier(net, example=data.train.fetch(torch.arange(2)).float())
    >>> task = Task(data, None, Seeds(0), frozenset({"retain"}), model, None, torch.device("cpu"))
    >>> stage = Fit((Phase(cross_entropy("retain"), {"retain": 10}),), epochs=3)
    >>> Engine(task, Compute.choose("cpu", "fp32")).run([stage]).cost.steps
    6
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
        after_epoch: Callable[[int], object] = lambda epochs: None,
        on_epoch: OnEpoch | None = None,
    ) -> None:
        self.task = task
        self.compute = compute
        self.group = ProcessGroup.current()
        self.workers = workers
        self.observe = observe
        self.after_epoch = after_epoch
        self.on_epoch = on_epoch
        self.checkpoint = checkpoint
        self.progress = progress
        self.title = title
        self.profile = Profile(profile, compute.device)
        self.log = Log(task.cost, task.preparation)
        self._bill = task.cost  # what the present stage is charged to
        self._at = Progress()
        # The last complete edit in the checkpoint; stages before it are left out.
        self._complete = -1
        self._model = task.classifier  # what the present stage trains
        self._modules: tuple[nn.Module, ...] = ()  # what it trains along with it
        self._unaugmented_from = math.inf  # the epoch of the present stage
        self._flops: dict[nn.Module, float] = {task.classifier: task.flops}
        self._losses = Losses(self.group)
        self._tick = 0.0
        self._saved = time.monotonic()

    @torch.enable_grad()
    def run(self, stages: Iterable[Stage]) -> Log:
        """Run all stages in order, or those that are left after an interruption.

        Raises: CounError if the loss or the weights stop being finite.
        """
        with fixed_algorithms(self.compute.device):
            self._run(stages)
        return self.log

    def _run(self, stages: Iterable[Stage]) -> None:
        model = self.task.classifier.inner
        self.compute.to_device(model)
        self.group.barrier()  # all files of an earlier run must be complete
        resumed = self.checkpoint.load("step") if self.checkpoint else None
        if resumed:
            _, state = resumed
            self._at = Progress(**state["at"])
            self.log.history = state["history"]
            self._losses.restore(state["losses"])
            self._complete = state.get("complete", -1)
        done = self._at.stage
        self._tick = time.monotonic()
        for number, stage in enumerate(stages):
            self.log.stages.append(stage.name)
            self._model = (isinstance(stage, Fit) and stage.model) or self.task.classifier
            self._bill = self.task.bill(stage.preparation)
            if number == self._complete < done:
                self._restore_stage(number)
            elif isinstance(stage, Edit):
                # A resumed run applies edits again. They are exact functions of the weights, and
                # whatever later stages took from the model (teachers, masks) is rebuilt.
                with self.task.seeds.as_global("edit", number):
                    stage.apply(model)
            elif self._complete < number < done:
                self._restore_stage(number, stage.modules)
            # The cost of repeated stages is already in the checkpoint; restore it, so that they
            # are not charged twice. What the plan computes before the first step of stage `done`
            # is in the checkpoint only if that stage had begun.
            if resumed and (number < done or (number == done and self._at != Progress(done))):
                self.log.cost.set(resumed[1]["cost"])
                self.log.preparation.set(resumed[1]["preparation"])
            if isinstance(stage, Fit) and number >= done:
                self._fit(number, stage, resumed[0] if resumed and number == done else None)
            if number >= done:
                self._at = Progress(stage=number + 1)
                if isinstance(stage, Edit) and stage.complete:
                    self._keep_complete(number)
            self._clock()
        self.log.cost.note_memory(self.compute.device)
        self.log.profile = self.profile.seconds

    def _clock(self) -> None:
        """Charge the time since the last call."""
        now = time.monotonic()
        self._bill.seconds += now - self._tick
        self._tick = now

    def _keep_complete(self, number: int) -> None:
        """Save the model after a complete edit, in place of the stages before it."""
        if self.checkpoint is None:
            return
        self._write(f"stage-{number:03d}", pack(self.task.classifier.inner), {})
        self._complete = number
        self._save({})
        if self.group.is_main:
            self.checkpoint.forget_before(number)

    def _restore_stage(self, number: int, modules: Sequence[nn.Module] = ()) -> None:
        saved = self.checkpoint.load(f"stage-{number:03d}") if self.checkpoint else None
        if saved is None:
            raise CounError(
                f"the checkpoint of stage {number} is missing; delete the checkpoint folder to "
                "start this run again"
            )
        unpack(saved[0], self._model.inner, modules)

    def _load_optimizers(self) -> None:
        """Let torch load what the first optimizer of a process needs, which is no cost of the run.

        This takes seconds, which would make the first of several runs look more expensive.
        """
        start = time.monotonic()
        torch.optim.SGD([torch.zeros(1)], lr=0.1)
        self._tick += time.monotonic() - start

    def _fit(self, number: int, stage: Fit, saved: dict[str, Tensor] | None) -> None:
        """Train *stage* from its beginning, or from where the checkpoint with *saved* was made."""
        self._load_optimizers()
        model, self._modules = self._model.inner, stage.modules
        self._unaugmented_from = stage.epochs - stage.unaugmented_epochs
        for module in stage.modules:
            module.to(self.compute.device)
        start = Progress(number)
        with Frozen(model, stage.mask) as frozen, restored_generator():
            optimizers = Optimizers.of(stage, self._model, self.compute.device)
            if saved:
                unpack(saved, model, stage.modules, optimizers.distinct)
                start = self._at
            forward = self.compute.compiled(self.group.wrap(self._model))
            frozen.set_modes()
            self._make_steps(stage, start, forward, frozen, optimizers)
            optimizers.shared.zero_grad(set_to_none=True)  # gradients are not part of the result
        self._finish(number, stage)

    def _make_steps(
        self,
        stage: Fit,
        start: Progress,
        forward: nn.Module,
        frozen: Frozen,
        optimizers: Optimizers,
    ) -> None:
        """Make all optimizer steps of *stage* from *start* on, and what follows each of them."""
        loader = BatchLoader(self.task, stage, group=self.group, workers=self.workers)
        done, total = loader.done(loader.first(start)), loader.total
        batches, model = loader.batches(start), self._model.inner
        own_name = f": {stage.name}" if stage.name != self.title else ""
        with ProgressBar(f"{self.title}{own_name}", visible=self._visible) as bar:
            show = self._shown_on(bar, total)
            while done < total:
                with self.profile.part("loading"):
                    at, phase, loaded = next(batches)
                rate = (phase.optimizer or stage.optimizer).rate(done / total)
                optimizer = optimizers.of_phases[at.phase]
                with self.compute.within_memory():
                    self._update(at, phase, forward, loaded, optimizer, rate, done / total)
                if stage.after_step:
                    stage.after_step(model, done / total)
                frozen.restore()
                done += 1
                following = loader.next(at)
                ends_phase = (following.epoch, following.phase) != (at.epoch, at.phase)
                if ends_phase or done % 50 == 0 or self.compute.device.type == "cpu":
                    show(done, self._losses.last(at, rate))
                if ends_phase:
                    self._record(stage, at, rate)
                if following.epoch != at.epoch:
                    self.after_epoch(following.epoch)
                self._at = following
                self._clock()
                if self.checkpoint and self._tick - self._saved >= self.checkpoint.every:
                    with self.profile.part("checkpoint"):
                        self._save(pack(model, stage.modules, optimizers.distinct))

    def _shown_on(self, bar: ProgressBar, total: int) -> Callable[[int, float], None]:
        """Return what shows the steps that are done, the loss and the speed since this call."""
        began, before = time.monotonic(), self._bill.samples_seen

        def show(done: int, loss: float) -> None:
            seconds = max(time.monotonic() - began, 1e-9)
            speed = (self._bill.samples_seen - before) / seconds
            bar.show(done, total, f"loss {loss:.3f}  {speed:,.0f} {self.task.data.noun}s/s")

        return show

    def _finish(self, number: int, stage: Fit) -> None:
        """Check the weights that *stage* gave, and save them.

        Raises: CounError if they are not finite.
        """
        model = self._model
        if not all(bool(torch.isfinite(p).all()) for p in model.parameters()):
            raise CounError(
                f"the weights after {stage.name} are not finite; expected finite numbers; "
                "try a lower lr, or --precision fp32"
            )
        self.group.sync_buffers(model)
        if self.checkpoint:
            self._at = Progress(number + 1)
            self._write(f"stage-{number:03d}", pack(model.inner, stage.modules), {})
            self._save({})

    def _update(
        self,
        at: Progress,
        phase: Phase,
        forward: nn.Module,
        loaded: Loaded,
        optimizer: torch.optim.Optimizer,
        rate: float,
        progress: float,
    ) -> None:
        """Make one optimizer step."""
        set_rate(optimizer, rate)
        # Dropout draws from the global generator; seeding it by position makes a resumed run
        # draw the same numbers without a saved state.
        device = self.compute.device
        seed_layers(self.task.seeds.number("layers", *self._where(at)), device)
        batches = {
            role: Batch(sent(x, device), sent(y, device), slots)
            for role, (x, y, slots) in loaded.items()
        }
        with self.profile.part("losses"):
            loss = phase.objective(self._context(at, phase, forward, batches, progress))
        optimizer.zero_grad(set_to_none=True)
        with self.profile.part("backward"):
            loss.backward()  # type: ignore[no-untyped-call]
            self.group.average(self._modules)
        with self.profile.part("optimizer"), self.observe(batches):
            optimizer.step()
        self._losses.add(loss)
        self._bill.steps += 1
        self._bill.samples_seen += self.group.count * sum(len(b.labels) for b in batches.values())

    def _context(
        self,
        at: Progress,
        phase: Phase,
        training: nn.Module,
        batches: dict[str, Batch],
        progress: float,
    ) -> BatchContext:
        """Make what the objective of *phase* sees of one step."""
        views_of_phase, default = phase.views, self.task.data.views
        group = self.group

        def view(role: str, number: int, images: Tensor) -> Tensor:
            transform = (
                views_of_phase.get(number, default)
                if isinstance(views_of_phase, Mapping)
                else views_of_phase or default
            )
            path = (*self._where(at), role, number)
            generator = self.compute.view_generator(self.task.seeds, transform, path)
            with self.profile.part("augmentation"):
                if number == 0 and at.epoch >= self._unaugmented_from:
                    return self.compute.laid_out(transform.evaluate(images))
                return self.compute.laid_out(transform(images, generator))

        def forward(model: nn.Module, x: Tensor) -> Outputs:
            if model not in self._flops:
                self._flops[model] = forward_flops(model, x[:1].detach())
            flops = self._flops[model]
            self._bill.count(len(x) * group.count, flops, grad=torch.is_grad_enabled())
            run = training if model is self._model else model
            with self.profile.part("forward"), self.compute.autocast():
                out = run(x)
            logits, features = out.logits.float(), out.features.float()
            if run is training:
                features = group.keep_head_in_graph(features, logits)
            return Outputs(logits, features)

        return BatchContext(
            self._model,
            batches,
            view=view,
            forward=forward,
            generator=lambda purpose: self.task.seeds.torch(purpose, *self._where(at)),
            gather=group.gather,
            progress=progress,
        )

    def _where(self, at: Progress) -> tuple[int | str, ...]:
        """Return the path of the random streams of one step; each rank has its own."""
        return (*astuple(at), *([f"rank {self.group.rank}"] if self.group.rank else []))

    @property
    def _visible(self) -> bool:
        return self.progress and self.group.is_main

    def _record(self, stage: Fit, at: Progress, rate: float) -> None:
        place = {"stage": stage.name, "epoch": at.epoch + 1, "phase": at.phase + 1}
        row = {**place, "loss": self._losses.end_phase(), "lr": rate}
        self.log.history.append(row)
        if self.on_epoch is not None and self.group.is_main:
            self.on_epoch(dict(row))

    def _save(self, tensors: dict[str, Tensor]) -> None:
        self._bill.note_memory(self.compute.device)
        state = {
            "at": asdict(self._at),
            "cost": self.log.cost.to_json(),
            "preparation": self.log.preparation.to_json(),
            "history": self.log.history,
            "losses": self._losses.so_far(),
            "complete": self._complete,
        }
        self._write("step", tensors, state)
        self._saved = time.monotonic()

    def _write(self, name: str, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        if self.checkpoint and self.group.is_main:
            self.checkpoint.save(name, tensors, state)
