"""Second-order quantities of a model's loss, computed from gradients alone."""

from __future__ import annotations

from typing import Any

import torch
from scipy.sparse.linalg import LinearOperator, cg
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from coun.engine import Task, batch_gradients
from coun.engine.gradients import Gradients
from coun.errors import CounError, first_line
from coun.models import Outputs

MAX_ITERATIONS = 200  # of conjugate gradients; a few dozen are usual


def fisher_diagonal(
    task: Task, role: str, draws: int | None = None, generator: torch.Generator | None = None
) -> Gradients:
    """Compute the diagonal of the model's own Fisher information over the rows of *role*.

    For every parameter it is the mean over rows of sum_y p_y (d(-ln p_y) / d theta)^2, where p
    are the model's probabilities.

    Args:
        task: data and model; the cost is charged.
        role: which rows.
        draws: number of labels drawn from p for each row, which gives an unbiased estimate; None
            takes all classes, each with its probability.
        generator: source of these draws.

    Returns: tensors of the parameters' shapes, by parameter name.
    """
    teacher, source = task.teacher().requires_grad_(True), task.source(role)
    trained = {n for n, p in task.classifier.inner.named_parameters() if p.requires_grad}
    parameters = {n: p for n, p in teacher.inner.named_parameters() if n in trained}
    total = {name: torch.zeros_like(p) for name, p in parameters.items()}
    # One forward pass per row, then one backward pass per class: faster than torch.func's vmap.
    for slot in range(len(source)):
        image = task.data.views.evaluate(source.fetch(torch.tensor([slot])).to(task.device))
        task.charge(1, grad=False)
        log_probabilities = teacher(image).logits[0].log_softmax(0)
        weights = log_probabilities.detach().exp().cpu()
        if draws is not None:
            labels = weights.multinomial(draws, replacement=True, generator=generator)
            weights = labels.bincount(minlength=len(weights)) / draws
        for label in weights.nonzero().flatten():
            task.cost.trained_images += 1
            task.cost.flops += 2 * task.flops
            gradients = torch.autograd.grad(
                log_probabilities[label],
                list(parameters.values()),
                retain_graph=True,
                allow_unused=True,
            )
            for name, g in zip(parameters, gradients, strict=True):
                if g is not None:
                    total[name] += g.square() * (float(weights[label]) / len(source))
    return {name: value.detach() for name, value in total.items()}


def solve_fisher(task: Task, role: str, v: Tensor, count: int, batch_size: int) -> Tensor:
    """Compute (I + G^T G / count)^-1 v, where G holds the gradient of each row in a line.

    Conjugate gradients need only products with G^T G. Each costs two passes over the rows, and
    its result does not depend on the batch size.

    Args:
        task: data and model; the cost is charged.
        role: the rows whose gradients G holds.
        v: (P,) vector over all parameters.
        count: the divisor.
        batch_size: rows per pass; only the speed depends on it.

    Raises: CounError if the iteration does not converge, or a layer has no second derivative.
    """
    parameters = [p for p in task.classifier.inner.parameters() if p.requires_grad]
    direction: list[Tensor] = []

    def weighted_loss(out: Outputs, labels: Tensor) -> Tensor:
        """Return a loss whose gradient is G^T G times *direction*, for one batch.

        Differentiating the gradient of `losses @ ones` by *ones* gives the products of every
        row's gradient with *direction* without holding single gradients in memory.
        """
        losses = F.cross_entropy(out.logits, labels, reduction="none")
        ones = torch.ones_like(losses, requires_grad=True)
        g = torch.autograd.grad(losses @ ones, parameters, create_graph=True, allow_unused=True)
        pairs = [(a * d).sum() for a, d in zip(g, direction, strict=True) if a is not None]
        (products,) = torch.autograd.grad(torch.stack(pairs).sum(), ones, retain_graph=True)
        # The backward pass of a backward pass costs about twice as much as a plain one.
        task.charge(2 * len(labels), grad=True)
        return losses @ products

    def product(x: Any) -> Any:
        parts = torch.split(torch.from_numpy(x).to(v), [p.numel() for p in parameters])
        direction[:] = [d.view(p.shape) for d, p in zip(parts, parameters, strict=True)]
        total = torch.zeros_like(v)
        # Only the plain implementation of attention has a second derivative.
        with sdpa_kernel(SDPBackend.MATH):
            batches = batch_gradients(task, role, batch_size=batch_size, loss=weighted_loss)
            for _, gradients in batches:
                total += flatten(gradients)
        return x + total.double().cpu().numpy() / count

    operator = LinearOperator((len(v), len(v)), product, dtype=float)
    try:
        solution, failed = cg(operator, v.double().cpu().numpy(), rtol=1e-6, maxiter=MAX_ITERATIONS)
    except NotImplementedError as error:
        raise CounError(
            f"a layer of the model has no second derivative in torch ({first_line(error)}), which "
            "this method needs; use mode=reference, or another method"
        ) from error
    if failed:
        raise CounError(
            f"the inverse Fisher did not converge in {MAX_ITERATIONS} iterations, because the "
            "gradients are too large; train the Original further, or use mode=reference"
        )
    return torch.from_numpy(solution).to(v)


def woodfisher_recursion(task: Task, role: str, v: Tensor, count: int) -> Tensor:
    """Apply the recursion of the authors' code to *v*, which is not the inverse Fisher.

    In each step, the first row's gradient, updated along the way, is used where
    Sherman-Morrison needs H_t g_t of the step's own row. Arguments are as in `solve_fisher`.
    """
    first: Tensor | None = None
    for _, gradients in batch_gradients(task, role, batch_size=1):
        g = flatten(gradients)
        if first is None:
            first = g
            continue
        overlap = first @ g
        v = v - (v @ g) / (count + overlap) * first
        first = first - overlap / (count + overlap) * first
    return v


def flatten(gradients: Gradients) -> Tensor:
    """Join *gradients* to one vector (P,)."""
    return torch.cat([g.flatten() for g in gradients.values()])
