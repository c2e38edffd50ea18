"""Unlearning rows x tasks: fine-tuning, and updates that do not interfere with what stays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from coun.engine import Edit, Fit, Optimizer, Phase, Stage, Task
from coun.errors import CounError, unknown
from coun.models.modes import in_eval_mode
from coun.multitask.projection import joined, leading_directions, orthonormal, removed
from coun.multitask.request import TaskRequest
from coun.multitask.training import (
    MultiTaskRun,
    carried_out,
    check_recipe,
    copied,
    mean_by_task,
    pair_loss,
    rows_and_pairs,
    task_losses,
    wrapped,
)
from coun.objectives import BatchContext, Objective
from coun.plans.epochs import one_stage_per_epoch

METHODS = ("finetune", "gradient_difference", "interference_aware")


@dataclass(frozen=True)
class InterferenceAware:
    """Descend the loss of what stays and ascend that of what goes, without interference.

    The gradient of the pairs to forget loses, on the shared layers, its part in the leading
    gradient directions of every task that stays, and then its part in the span of gradients of
    the retain batch. The head of a task moves with it only if the task is to be forgotten.

    Formula: g = alpha g_r - (1 - alpha) P_rows P_tasks g_f.

    Args:
        alpha: weight of what stays, 0..1.
        energy: share of the energy of a task's gradients that its directions hold.
        batches: retain batches whose gradients give the directions of a task, anew each epoch.
        pieces: parts of the retain batch, whose gradients g_f becomes orthogonal to.
        across_tasks, across_rows: whether each of the two projections is made; without both it is
            the plain difference of gradients.
        fresh_heads: whether the head of a task that no row serves any more is drawn anew first. A
            Retrain never trains it, so this is the exact answer for the head, and it costs nothing.
            Its pairs are then not ascended: the head would learn to avoid the true class.

    Source: a reconstruction of arXiv 2605.19042. The row part follows OrthoGrad (arXiv
        2503.02312), which uses the gradient of every retain row; here rows are joined to pieces.
        The second projection is onto what is orthogonal to both spans.
        A pair whose loss has reached that of a uniform guess is not pushed further.

    >>> InterferenceAware(alpha=0.9).pieces
    4
    """

    alpha: float = 0.95
    energy: float = 0.95
    batches: int = 16
    pieces: int = 4
    across_tasks: bool = True
    across_rows: bool = True
    fresh_heads: bool = True

    def __post_init__(self) -> None:
        for name, low, high in (("alpha", 0, 1), ("energy", 0, 1)):
            value = getattr(self, name)
            if not low < value <= high:
                raise CounError(f"{name} is {value}; expected a number above 0 and up to 1")
        for name in ("batches", "pieces"):
            if getattr(self, name) < 1:
                raise CounError(f"{name} is {getattr(self, name)}; expected 1 or more")


def unlearn(
    original: MultiTaskRun,
    request: TaskRequest,
    method: str = "interference_aware",
    *,
    seed: int = 0,
    epochs: int = 8,
    batch_size: int = 64,
    lr: float = 0.05,
    settings: InterferenceAware | None = None,
) -> MultiTaskRun:
    """Make a copy of *original* forget the rows of *request* for its tasks.

    Args:
        original: the run to start from. What it has forgotten stays forgotten, so the Retrain to
            compare with is `train(..., request=run.request)` with the request of the result.
        method: "finetune" trains on the pairs that stay; "interference_aware" does that and
            ascends on the pairs that go; "gradient_difference" is the same without projections.
        seed: of the order of rows, and of a head that is drawn anew.
        epochs: passes over the rows that stay for at least one task.
        batch_size: of rows that stay, and of rows that go.
        lr: peak of a cosine.
        settings: of the last two methods.

    Raises: CounError for an unknown method, or numbers that cannot train.

    >>> import coun
    >>> from coun.multitask import train, three_tasks
    >>> workload = three_tasks(coun.load("digits", limit=50), vehicles=frozenset("01234"))
    >>> request = TaskRequest(workload.data.train.numbers[:5], ("class",))
    >>> run = unlearn(train(workload, "mlp", epochs=1), request, "finetune", epochs=1)
    >>> run.method, run.request.tasks
    ('finetune', ('class',))
    """
    if method not in METHODS:
        raise unknown("multi-task method", method, METHODS)
    check_recipe(epochs, batch_size, lr)
    run = copied(original, request, method, seed)
    assert run.request is not None
    request = run.request
    optimizer = Optimizer(lr=lr, lr_floor=1e-4)
    loss = pair_loss(run.workload.tasks, "retain", *rows_and_pairs(run.workload, request, "retain"))
    descent = Fit((Phase(loss, {"retain": batch_size}),), epochs, optimizer, method)
    if method == "finetune":
        return carried_out(run, lambda task: [descent])
    how = settings or InterferenceAware()
    if method == "gradient_difference":
        how = replace(how, across_tasks=False, across_rows=False)
    sizes = {"retain": batch_size, "forget": batch_size}
    step = _Step(run, request, how)
    whole = Fit((Phase(Objective.of(step), sizes),), epochs, optimizer, method)
    return carried_out(run, lambda task: step.stages(task, whole if step.ascends else descent))


class _Step:
    """The objective of a step: a scalar whose gradient is the projected update."""

    def __init__(self, run: MultiTaskRun, request: TaskRequest, how: InterferenceAware) -> None:
        self.run, self.how, self.tasks = run, how, run.workload.tasks
        without_rows = unserved_tasks(run)
        self.staying = [
            name for name in self.tasks.names if name not in (*request.tasks, *without_rows)
        ]
        self.rows = {
            role: rows_and_pairs(run.workload, request, role) for role in ("retain", "forget")
        }
        self.unserved = without_rows if how.fresh_heads else []
        for name in self.unserved:
            self.rows["forget"][1][:, self.tasks.place(name)] = False
        self.basis: Tensor | None = None
        self.task: Task | None = None

    @property
    def ascends(self) -> bool:
        """Whether pairs are left to ascend on."""
        return bool(self.rows["forget"][1].any())

    def stages(self, task: Task, whole: Fit) -> Iterator[Stage]:
        """Yield one stage for each epoch, before which the directions of tasks are computed.

        Heads are renewed first; where nothing is left to ascend on, *whole* follows as it is.
        """
        self.task = task
        if self.unserved:
            fresh = fresh_head(self.run, task)
            yield Edit(
                f"fresh head of {', '.join(self.unserved)}",
                lambda _: renew_heads(self.run, self.unserved, fresh),
            )
        if not self.ascends:
            yield whole
            return
        (size, *_) = whole.phases[0].batch_sizes.values()
        for stage in one_stage_per_epoch(whole):
            if self.how.across_tasks and self.staying:
                self.basis = joined(
                    [
                        leading_directions(
                            task_gradients(self.run, task, name, size, self.how.batches),
                            self.how.energy,
                        )
                        for name in self.staying
                    ]
                )
            yield stage

    def __call__(self, context: BatchContext) -> Tensor:
        shared, others = parameters_by_part(self.run)
        losses = {}
        for role, (rows, pairs) in self.rows.items():
            slots = context.slots(role)
            logits = context.outputs(role).logits
            active = pairs[slots].to(logits.device)
            labels = self.tasks.train[rows[slots]].to(logits.device)
            values = task_losses(logits, labels, active, self.tasks, limit=role == "forget")
            losses[role] = values, active
        retain, forget = (mean_by_task(*losses[role]) for role in ("retain", "forget"))
        everything = [*shared, *others]
        away = flat_gradient(forget, everything)
        count = sum(p.numel() for p in shared)
        update = away[:count]
        if self.basis is not None:
            update = removed(update, self.basis)
        if self.how.across_rows:
            per_row = losses["retain"][0].sum(1)
            parts = [part.sum() for part in per_row.chunk(self.how.pieces)]
            gradients = [flat_gradient(part, shared) for part in parts]
            if self.task is not None:  # the engine counts one backward pass of the batch only
                passes = len(per_row) * len(parts)
                self.task.cost.flops += 2 * passes * self.task.flops
            if self.basis is not None:
                # Otherwise the second projection would bring back a part of what the first removed.
                gradients = [removed(gradient, self.basis) for gradient in gradients]
            update = removed(update, orthonormal(torch.stack(gradients, 1)))
        away = torch.cat([update, away[count:]])
        toward = flat_gradient(retain, everything)
        gradient = self.how.alpha * toward - (1 - self.how.alpha) * away
        weights = torch.cat([p.flatten() for p in everything])
        # Its gradient is `gradient`, and its value that of the loss.
        surrogate = weights @ gradient
        return surrogate + (retain - surrogate).detach()


def unserved_tasks(run: MultiTaskRun) -> list[str]:
    """Return the tasks of which no pair stays."""
    _, pairs = rows_and_pairs(run.workload, run.request, "retain")
    return [
        name
        for name in run.workload.tasks.names
        if not pairs[:, run.workload.tasks.place(name)].any()
    ]


def fresh_head(run: MultiTaskRun, task: Task) -> nn.Linear:
    """Return the head of a fresh network."""
    with task.seeds.as_global("init", "heads"):
        head = wrapped(run.build(), run.workload).head
    assert isinstance(head, nn.Linear)
    return head


@torch.no_grad()
def renew_heads(run: MultiTaskRun, names: Sequence[str], fresh: nn.Linear) -> None:
    """Give the named tasks the weights that they have in *fresh*, in place."""
    head = run.classifier.head
    assert isinstance(head, nn.Linear)
    for columns in map(run.workload.tasks.columns, names):
        for parameter, of_fresh in zip(head.parameters(), fresh.parameters(), strict=True):
            parameter[columns] = of_fresh[columns].to(parameter.device)


def parameters_by_part(run: MultiTaskRun) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Return the parameters of the shared layers, and those of the heads."""
    heads = {id(p) for p in run.classifier.head.parameters()}
    trained = [p for p in run.classifier.inner.parameters() if p.requires_grad]
    return [p for p in trained if id(p) not in heads], [p for p in trained if id(p) in heads]


def flat_gradient(loss: Tensor, parameters: list[nn.Parameter]) -> Tensor:
    """Return the gradient of *loss* as one vector, (D,); the graph is kept."""
    gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    return torch.cat(
        [
            (torch.zeros_like(p) if g is None else g).flatten()
            for p, g in zip(parameters, gradients, strict=True)
        ]
    )


def task_gradients(
    run: MultiTaskRun, task: Task, name: str, batch_size: int, batches: int
) -> Tensor:
    """Compute the gradients of one task's loss on some retain batches, on the shared layers.

    Batches are the first ones of the rows that stay for the task, in evaluation mode and without
    random views.

    Returns: (m, D), one batch in each row; m is at most *batches*.
    """
    workload = run.workload
    rows, pairs = rows_and_pairs(workload, run.request, "retain")
    place = workload.tasks.place(name)
    serving = rows[pairs[:, place]][: batch_size * batches]
    shared, _ = parameters_by_part(run)
    gradients = []
    with in_eval_mode(run.classifier):
        for batch in torch.split(serving, batch_size):
            images = workload.data.views.evaluate(workload.data.train.fetch(batch))
            logits = run.classifier(images).logits[:, workload.tasks.columns(name)]
            loss = nn.functional.cross_entropy(logits, workload.tasks.train[batch, place])
            gradients.append(flat_gradient(loss, shared))
            task.charge(len(batch), grad=True)
    return torch.stack(gradients).detach()
