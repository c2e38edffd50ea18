"""Training a model of several tasks: an Original, or a Retrain of a request of rows x tasks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from coun.data.data_set import blank_inputs
from coun.engine import Compute, Cost, Engine, Fit, Optimizer, Phase, Stage, Task
from coun.engine import forward_flops as flops_of
from coun.errors import CounError
from coun.models import Classifier, build, copy_model
from coun.multitask.request import TaskRequest
from coun.multitask.tasks import MultiTaskData, Tasks
from coun.objectives import BatchContext, Objective
from coun.seeds import Seeds


@dataclass(eq=False)
class MultiTaskRun:
    """A model of several tasks, and how it was made.

    Attributes:
        classifier: gives the outputs of all tasks, (B, K1 + K2 + ...), and shared features.
        workload: rows and tasks.
        request: what it had to forget, with what was forgotten earlier; None for an Original.
        method: "original", "retrain", or the name of a method.
        seed: of all random draws.
        build: makes a fresh network of the same kind.
        cost: what it cost.

    >>> import coun
    >>> from coun.multitask import three_tasks
    >>> workload = three_tasks(coun.load("digits", limit=50), vehicles=frozenset("01234"))
    >>> run = train(workload, "mlp", epochs=1)
    >>> run.method, run.request
    ('original', None)
    """

    classifier: Classifier
    workload: MultiTaskData
    request: TaskRequest | None
    method: str
    seed: int
    build: Callable[[], nn.Module]
    cost: Cost = field(default_factory=Cost)

    def __repr__(self) -> str:
        """A few lines for people: method, model, tasks, data and request."""
        weights = sum(weight.numel() for weight in self.classifier.parameters())
        parts = [repr(self.workload)] + [repr(self.request)] * (self.request is not None)
        lines = [line for part in parts for line in part.splitlines()]
        head = f"Run of several tasks: {self.method}, seed {self.seed}, {weights:,} weights"
        return "\n  ".join([head, *lines])


def train(
    workload: MultiTaskData,
    model: str,
    *,
    request: TaskRequest | None = None,
    seed: int = 0,
    epochs: int = 30,
    batch_size: int = 64,
    lr: float = 0.1,
    warmup: float = 0.2,
) -> MultiTaskRun:
    """Train an Original on all pairs of row and task, or, with a *request*, a Retrain.

    The loss is the sum over tasks of the mean cross entropy over the rows that serve the task. In
    a partial-task Retrain a forgotten row stays, and its loss of the forgotten tasks is masked.

    Args:
        workload: rows and tasks.
        model: the name of a built-in network.
        request: what a Retrain must not learn.
        seed: of the weights and of the order of rows.
        epochs, batch_size, lr, warmup: of SGD with momentum 0.9, weight decay 5e-4 and a cosine.

    >>> import coun
    >>> from coun.multitask import three_tasks
    >>> workload = three_tasks(coun.load("digits", limit=50), vehicles=frozenset("01234"))
    >>> train(workload, "mlp", epochs=1).classifier.out_features
    16
    """
    check_recipe(epochs, batch_size, lr, warmup)
    purpose = "original" if request is None else "retrain"
    data = workload.data
    build_network = partial(build, model, classes=workload.tasks.outputs, shape=data.input_shape)
    with Seeds(seed).fork(purpose).as_global("init", purpose):
        network = build_network()
    run = MultiTaskRun(wrapped(network, workload), workload, request, purpose, seed, build_network)
    optimizer = Optimizer(lr=lr, warmup=warmup)
    loss = pair_loss(workload.tasks, "retain", *rows_and_pairs(workload, request, "retain"))
    stage = Fit((Phase(loss, {"retain": batch_size}),), epochs, optimizer, purpose)
    return carried_out(run, lambda task: [stage])


def check_recipe(epochs: int, batch_size: int, lr: float, warmup: float = 0.0) -> None:
    """Refuse what cannot train. Raises: CounError."""
    for name, value in (("epochs", epochs), ("batch_size", batch_size)):
        if not isinstance(value, int) or value < 1:
            raise CounError(f"{name} is {value}; expected a whole number of 1 or more")
    if not 0 < lr < math.inf:
        raise CounError(f"lr is {lr}; expected a number above 0")
    if not 0 <= warmup <= 1:
        raise CounError(f"warmup is {warmup}; expected a share of the epochs, 0 to 1")


def carried_out(run: MultiTaskRun, plan: Callable[[Task], Iterable[Stage]]) -> MultiTaskRun:
    """Run the stages of *plan* on the model of *run*, which changes, and return the run."""
    workload, network = run.workload, run.classifier.inner
    example = blank_inputs(workload.data)[:1]
    task = Task(
        *(workload.data, None, Seeds(run.seed).fork(run.method), frozenset({"retain"})),
        *(run.classifier, run.build, torch.device("cpu"), flops_of(run.classifier, example)),
    )
    # A row may be of both roles: to forget for one task, and to retain for another.
    task = task.with_rows(
        retain=rows_and_pairs(workload, run.request, "retain")[0],
        **(
            {}
            if run.request is None
            else {"forget": rows_and_pairs(workload, run.request, "forget")[0]}
        ),
    )
    compute = Compute.choose("cpu", "fp32")
    Engine(task, compute).run(plan(task))
    compute.to_cpu(network)
    network.eval()
    run.cost = task.cost
    return run


def rows_and_pairs(
    workload: MultiTaskData, request: TaskRequest | None, role: str
) -> tuple[Tensor, Tensor]:
    """Return the rows of a role, and for which tasks they serve it.

    Returns: positions in the training part, (r,) int64; and (r, T) bool.
    """
    pairs = torch.ones(len(workload.data.train), len(workload.tasks.names), dtype=torch.bool)
    if request is not None:
        forgotten = request.forgotten(workload)
        pairs = request.pairs(workload) if role == "forget" else ~forgotten
    elif role == "forget":
        raise CounError("an Original has no rows to forget; give a request")
    rows = pairs.any(1).nonzero().flatten()
    return rows, pairs[rows]


def task_losses(
    logits: Tensor, labels: Tensor, pairs: Tensor, tasks: Tasks, limit: bool = False
) -> Tensor:
    """Compute the cross entropy of every pair of row and task, (B, T), 0 where it is not active.

    Args:
        logits: (B, K1 + K2 + ...).
        labels: (B, T) int64.
        pairs: (B, T) bool, the active ones.
        limit: cut each loss at that of a uniform guess, so that it is not increased beyond.
    """
    columns = []
    for place, (name, size) in enumerate(zip(tasks.names, tasks.sizes, strict=True)):
        losses = F.cross_entropy(logits[:, tasks.columns(name)], labels[:, place], reduction="none")
        if limit:
            losses = losses.clamp(max=float(torch.tensor(float(size)).log()))
        columns.append(losses)
    return torch.stack(columns, 1) * pairs


def mean_by_task(losses: Tensor, pairs: Tensor) -> Tensor:
    """Sum over tasks the mean of *losses* (B, T) over their active *pairs* (B, T)."""
    return (losses.sum(0) / pairs.sum(0).clamp(min=1)).sum()


def pair_loss(tasks: Tasks, role: str, rows: Tensor, pairs: Tensor) -> Objective:
    """Return the loss of the batches of a role, over its active pairs.

    Args: rows, pairs: as `rows_and_pairs` returns them.
    """

    def term(context: BatchContext) -> Tensor:
        slots = context.slots(role)
        logits = context.outputs(role).logits
        active, labels = pairs[slots].to(logits.device), tasks.train[rows[slots]].to(logits.device)
        return mean_by_task(task_losses(logits, labels, active, tasks), active)

    return Objective.of(term)


def wrapped(network: nn.Module, workload: MultiTaskData) -> Classifier:
    """Wrap *network*, whose last linear layer holds the heads of all tasks."""
    return Classifier(network, example=blank_inputs(workload.data))


def copied(run: MultiTaskRun, request: TaskRequest, method: str, seed: int) -> MultiTaskRun:
    """Return a run that starts from a copy of the model of *run*, and forgets what that forgot."""
    request = request.after(run.request)
    return MultiTaskRun(copy_model(run.classifier), run.workload, request, method, seed, run.build)
