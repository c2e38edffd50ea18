"""Gradients over a role's data at the present weights, for plans that measure before they cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from coun.engine.task import Task
from coun.models import Outputs

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
    """Each batch's size and the gradient of its loss, by parameter name.

    Args:
        batch_size: images a batch; 1 gives every sample's own gradient.
        loss: of `Outputs` and labels (B,); by default mean cross entropy.
        limit: stop after this many images.

    Batches are in file order, views deterministic, the model in eval mode and float32, its
    modes as they were afterwards. The cost is charged.
    """
    model, source = task.classifier, task.source(role)
    parameters = {n: p for n, p in model.inner.named_parameters() if p.requires_grad}
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        for rows in torch.split(torch.arange(min(len(source), limit or len(source))), batch_size):
            images = task.data.views.evaluate(source.fetch(rows).to(task.device))
            labels = source.labels[rows.to(source.labels.device)].to(task.device)
            task.charge(len(rows), grad=True)
            with torch.enable_grad():
                value = loss(model(images), labels)
                found = torch.autograd.grad(value, list(parameters.values()), allow_unused=True)
            yield (
                len(rows),
                {
                    name: torch.zeros_like(p) if g is None else g
                    for (name, p), g in zip(parameters.items(), found, strict=True)
                },
            )
    finally:
        for module, training in modes.items():
            module.training = training


def mean_gradient(
    task: Task, role: str, *, batch_size: int, loss: Loss = _cross_entropy
) -> Gradients:
    """The gradient of the mean loss over all of *role*, by parameter name."""
    total: Gradients = {}
    for count, found in batch_gradients(task, role, batch_size=batch_size, loss=loss):
        for name, value in found.items():
            scaled = value * (count / len(task.rows(role)))
            total[name] = total[name] + scaled if name in total else scaled
    return total
