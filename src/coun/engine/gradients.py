"""Gradients over the rows of a role at the present weights, for plans that need them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from coun.engine.task import Task
from coun.models import Outputs
from coun.models.modes import in_eval_mode

Gradients = dict[str, Tensor]
Loss = Callable[[Outputs, Tensor], Tensor]


def _cross_entropy(out: Outputs, labels: Tensor) -> Tensor:
    return F.cross_entropy(out.logits, labels)


def batch_gradients(
    task: Task,
    role: str,
    *,
    batch_size: int,
    loss: Loss = _cross_entropy,
    limit: int | None = None,
) -> Iterator[tuple[int, Gradients]]:
    """Compute the gradient of the loss of each batch of *role*.

    Batches are in the order of the source, views are deterministic, and the model is in eval mode
    and float32; its modes are restored afterwards. The cost is charged.

    Args:
        task: data and model.
        role: which rows.
        batch_size: rows per batch; 1 gives the gradient of every row.
        loss: a function of `Outputs` and labels (B,); by default the mean cross entropy.
        limit: stop after this many rows.

    Yields: the size of the batch, and its gradients by parameter name.

    >>> from coun.data import load
    >>> from coun.models import Classifier
    >>> from coun.seeds import Seeds
    >>> data, net = load("digits", limit=20), torch.nn.Sequential(
    ...     torch.nn.Flatten(), torch.nn.Linear(64, 10))
    >>> model = Classifier(net, example=data.train.fetch(torch.arange(2)).float())
    >>> task = Task(data, None, Seeds(0), frozenset({"retain"}), model, None, torch.device("cpu"))
    >>> [size for size, _ in batch_gradients(task, "retain", batch_size=8)]
    [8, 8, 4]
    """
    model, source = task.classifier, task.source(role)
    parameters = {n: p for n, p in model.inner.named_parameters() if p.requires_grad}
    with in_eval_mode(model):
        count = min(len(source), limit or len(source))
        for slots in torch.split(torch.arange(count), batch_size):
            images = task.data.views.evaluate(source.fetch(slots).to(task.device))
            labels = source.labels[slots.to(source.labels.device)].to(task.device)
            task.charge(len(slots), grad=True)
            with torch.enable_grad():
                value = loss(model(images), labels)
                gradients = torch.autograd.grad(value, list(parameters.values()), allow_unused=True)
            yield (
                len(slots),
                {
                    name: torch.zeros_like(p) if g is None else g
                    for (name, p), g in zip(parameters.items(), gradients, strict=True)
                },
            )


def mean_gradient(task: Task, role: str, *, batch_size: int) -> Gradients:
    """Compute the gradient of the mean cross entropy over all rows of *role*, by parameter name.

    Args: task, role, batch_size: as for `batch_gradients`.

    Raises: as `batch_gradients`.

    >>> from coun.data import load
    >>> from coun.models import Classifier
    >>> from coun.seeds import Seeds
    >>> data, net = load("digits", limit=20), torch.nn.Sequential(
    ...     torch.nn.Flatten(), torch.nn.Linear(64, 10))
    >>> model = Classifier(net, example=data.train.fetch(torch.arange(2)).float())
    >>> task = Task(data, None, Seeds(0), frozenset({"retain"}), model, None, torch.device("cpu"))
    >>> {name: g.shape for name, g in mean_gradient(task, "retain", batch_size=8).items()}
    {'1.weight': torch.Size([10, 64]), '1.bias': torch.Size([10])}
    """
    total: Gradients = {}
    for count, gradients in batch_gradients(task, role, batch_size=batch_size):
        for name, value in gradients.items():
            scaled = value * (count / len(task.indices(role)))
            total[name] = total[name] + scaled if name in total else scaled
    return total
