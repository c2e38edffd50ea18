"""Second-order quantities of a model's loss, from gradients alone."""

from __future__ import annotations

from typing import Any

import torch
from scipy.sparse.linalg import LinearOperator, cg
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from coun.engine import Task, batch_gradients
from coun.engine.gradients import Gradients
from coun.errors import CounError
from coun.models import Outputs

SWEEPS = 200  # of conjugate gradients, at most; a few dozen is usual


def information(
    task: Task, role: str, draws: int | None = None, generator: torch.Generator | None = None
) -> Gradients:
    """The diagonal of the model's own Fisher information over *role*, by parameter.

    E sum_y p_y (d(-ln p_y) / d theta)^2 over the samples; with *draws*, so many labels are
    drawn from each sample's p with *generator* instead of weighing all classes: unbiased.
    """
    teacher, source = task.teacher().requires_grad_(True), task.source(role)
    trained = {n for n, p in task.classifier.inner.named_parameters() if p.requires_grad}
    parameters = {n: p for n, p in teacher.inner.named_parameters() if n in trained}
    total = {name: torch.zeros_like(p) for name, p in parameters.items()}
    # One sample's forward, then a backward a class: quicker than torch.func's vmap.
    for row in range(len(source)):
        image = task.data.views.evaluate(source.fetch(torch.tensor([row])).to(task.device))
        task.charge(1, grad=False)
        answers = teacher(image).logits[0].log_softmax(0)
        weights = answers.detach().exp().cpu()
        if draws is not None:
            labels = weights.multinomial(draws, replacement=True, generator=generator)
            weights = labels.bincount(minlength=len(weights)) / draws
        for label in weights.nonzero().flatten():
            task.cost.trained_images += 1
            task.cost.flops += 2 * task.flops
            found = torch.autograd.grad(
                answers[label], list(parameters.values()), retain_graph=True, allow_unused=True
            )
            for name, g in zip(parameters, found, strict=True):
                if g is not None:
                    total[name] += g.square() * (float(weights[label]) / len(source))
    return {name: value.detach() for name, value in total.items()}


def solve(task: Task, role: str, v: Tensor, count: int, batch_size: int) -> Tensor:
    """(I + G^T G / count)^-1 v; the rows of G are the gradients of *role*'s samples.

    Conjugate gradients: a product with G and G^T is two sweeps' work, whatever the batch.
    """
    parameters = [p for p in task.classifier.inner.parameters() if p.requires_grad]
    direction: list[Tensor] = []

    def weighted(out: Outputs, labels: Tensor) -> Tensor:
        """Whose gradient is G^T G times *direction*, for one batch."""
        losses = F.cross_entropy(out.logits, labels, reduction="none")
        ones = torch.ones_like(losses, requires_grad=True)
        g = torch.autograd.grad(losses @ ones, parameters, create_graph=True, allow_unused=True)
        pairs = [(a * d).sum() for a, d in zip(g, direction, strict=True) if a is not None]
        (products,) = torch.autograd.grad(torch.stack(pairs).sum(), ones, retain_graph=True)
        task.charge(2 * len(labels), grad=True)  # a backward of a backward is about that much
        return losses @ products

    def product(x: Any) -> Any:
        parts = torch.split(torch.from_numpy(x).to(v), [p.numel() for p in parameters])
        direction[:] = [d.view(p.shape) for d, p in zip(parts, parameters, strict=True)]
        total = torch.zeros_like(v)
        with sdpa_kernel(SDPBackend.MATH):  # the only attention with a second derivative
            for _, found in batch_gradients(task, role, batch_size=batch_size, loss=weighted):
                total += flat(found)
        return x + total.double().cpu().numpy() / count

    operator = LinearOperator((len(v), len(v)), product, dtype=float)
    solution, failed = cg(operator, v.double().cpu().numpy(), rtol=1e-6, maxiter=SWEEPS)
    if failed:
        raise CounError(
            f"the inverse Fisher did not settle in {SWEEPS} sweeps, gradients are too large; "
            "train the original further, or use mode=reference"
        )
    return torch.from_numpy(solution).to(v)


def recursion(task: Task, role: str, v: Tensor, count: int) -> Tensor:
    """The authors' recursion: *first* is what the first sample's gradient becomes."""
    first: Tensor | None = None
    for _, found in batch_gradients(task, role, batch_size=1):
        g = flat(found)
        if first is None:
            first = g
            continue
        overlap = first @ g
        v = v - (v @ g) / (count + overlap) * first
        first = first - overlap / (count + overlap) * first
    return v


def flat(gradients: Gradients) -> Tensor:
    """All *gradients* in one vector."""
    return torch.cat([g.flatten() for g in gradients.values()])
