"""Prune first, then unlearn: fine-tuning a sparse model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from coun.engine import Edit, Stage, Task
from coun.errors import CounError
from coun.methods.finetune import FineTune
from coun.objectives import cross_entropy
from coun.plans.masks import largest
from coun.plans.method import FROZEN, Share


@dataclass(frozen=True, config=FROZEN)
class Prune(FineTune):
    """Prune the smallest weights for good, then fine-tune on the retain set (prune).

    One-shot magnitude pruning, ranked over all convolutions and linear layers but the head;
    a pruned weight stays exactly zero. At sparsity 0 it is fine-tuning, to the bit.

    Source: Jia et al., NeurIPS 2023, "prune first, then unlearn", 95% of the weights. Their
        code prunes convolutions alone, which leaves a transformer or a perceptron whole. They
        fine-tune at lr 0.01 for 10 epochs; the defaults here are those of `finetune`.
    """

    name: ClassVar[str] = "prune"
    source: ClassVar[str] = "Jia et al., NeurIPS 2023"

    sparsity: Share = Field(0.95, description="share of the weights that is set to zero")

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        fit = self.train(cross_entropy("retain"))
        if self.sparsity == 0:
            yield fit
            return
        keep = unpruned(prunable(model, task.classifier.head), self.sparsity)
        yield Edit(f"prune {self.sparsity:.0%} of the weights", lambda m: zero(m, keep))
        everything = {name: True for name, _ in model.named_parameters()}
        yield replace(fit, mask={**everything, **keep})


def prunable(model: nn.Module, head: nn.Module) -> dict[str, Tensor]:
    """The weights of every convolution and linear layer but *head*, by parameter name.

    Raises: CounError if there are none.
    """
    kinds = (nn.modules.conv._ConvNd, nn.Linear)
    layers = [m for m in model.modules() if isinstance(m, kinds) and m is not head]
    wanted = {id(layer.weight) for layer in layers}
    found = {name: p.detach() for name, p in model.named_parameters() if id(p) in wanted}
    if not found:
        raise CounError(
            "nothing to prune: the model has no convolution or linear layer but its head"
        )
    return found


def unpruned(weights: dict[str, Tensor], sparsity: float) -> dict[str, Tensor]:
    """Bool masks, False at the share *sparsity* of all *weights* that is smallest in magnitude."""
    size = sum(w.numel() for w in weights.values())
    return largest(weights, size - round(sparsity * size))


@torch.no_grad()
def zero(model: nn.Module, keep: dict[str, Tensor]) -> None:
    """Set to zero, in place, what *keep* does not keep."""
    for name, mask in keep.items():
        parameter = model.get_parameter(name)
        parameter.masked_fill_(~mask.to(parameter.device), 0.0)
