"""MU-Mis: make the model as insensitive to its forget rows as to rows that it never saw."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from coun.engine import Stage, Task
from coun.engine.process_group import ProcessGroup
from coun.errors import CounError
from coun.objectives import BatchContext, Objective
from coun.plans.forget_only import ForgetEpochs, ForgetOnly
from coun.plans.method import FROZEN, LearningRate, WeightDecay

EXTRA = 12  # forward passes' worth of arithmetic: two input gradients, and their own gradients


@dataclass(frozen=True, config=FROZEN)
class MUMis(ForgetOnly):
    """Reduce the sensitivity of a forget row's own logit to its input (MU-Mis).

    Training on a row makes the logit of its class depend strongly on the inputs of that row. The
    method reduces this dependence until it is no larger than that of another class. Retain rows
    are not read.

    Formula: L = mean over forget rows of max(0, |dz_c/dx|^2 - |dz_k/dx|^2), where z are the logits,
        c is the class of the row x, and k another class, drawn anew in every step.
    Cost: about five times that of a forward and a backward pass of every forget row in each epoch,
        because gradients of gradients are needed.
    Limits: `--compile` cannot make gradients of gradients. Token ids have no gradient and are
        refused. Nothing repairs the retain rows, and BatchNorm statistics move to those of the
        forget rows. It needs the forget rows.
    Source: Cheng et al., "Remaining-data-free Machine Unlearning by Suppressing Sample
        Contribution", ICLR 2026 (arXiv 2402.15109).
    Differences: the authors' code could not be had. They minimise the difference without a bound
        and stop when the other class is more sensitive than at the start, by a threshold; the bound
        at 0, 5 epochs and SGD at 1e-4 are our choices. torchunlearn's form has no bound either.
    """

    name: ClassVar[str] = "mu_mis"
    source: ClassVar[str] = "MU-Mis, Cheng et al., ICLR 2026"
    changes_inputs: ClassVar[bool] = True

    epochs: ForgetEpochs = Field(5)
    lr: LearningRate = Field(1e-4)
    weight_decay: WeightDecay = Field(0.0)

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        if ProcessGroup.current().count > 1:
            raise CounError(
                "mu_mis takes gradients of gradients, which several processes cannot average, but "
                "torchrun started several; run it without torchrun"
            )
        classes = len(task.data.classes)

        def term(context: BatchContext) -> Tensor:
            x, labels = context.inputs("forget").detach().requires_grad_(), context.labels("forget")
            shift = torch.randint(
                1, classes, labels.shape, generator=context.generator("other class")
            )
            # Only the plain implementation of attention has a second derivative.
            with sdpa_kernel(SDPBackend.MATH):
                logits = context.forward(x).logits
                of_label = sensitivity(logits, x, labels)
                of_another = sensitivity(logits, x, (labels + shift.to(labels.device)) % classes)
            task.cost.flops += EXTRA * len(x) * task.flops
            return (of_label - of_another).clamp(min=0).mean()

        yield self.fit_forget(Objective.of(term))


def sensitivity(logits: Tensor, inputs: Tensor, classes: Tensor) -> Tensor:
    """Compute |d logit / d input|^2 of each row, (B,), with its graph.

    Args: logits: (B, K), computed from *inputs* (B, ...); classes: (B,) int64.

    >>> x = torch.ones(1, 2, requires_grad=True)
    >>> sensitivity(x @ torch.tensor([[3.0, 0.0], [4.0, 1.0]]), x, torch.tensor([0])).item()
    25.0
    """
    chosen = logits.gather(1, classes[:, None]).sum()
    (gradient,) = torch.autograd.grad(chosen, inputs, create_graph=True)
    return gradient.flatten(1).square().sum(1)
