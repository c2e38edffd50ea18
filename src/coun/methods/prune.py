"""Prune first, then unlearn: fine-tune a sparse model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from coun.data import Data, Split
from coun.engine import Edit, Stage, Task
from coun.errors import CounError
from coun.models import Classifier
from coun.objectives import cross_entropy
from coun.plans.masks import top_k_masks
from coun.plans.method import FROZEN, Share, Training


@dataclass(frozen=True, config=FROZEN)
class Prune(Training):
    """Set the smallest weights to zero for good, then fine-tune on the retain rows (prune).

    A pruned model has less room to remember single rows, and fine-tuning restores what the
    retain rows need. With sparsity 0 the method is fine-tuning, to the last bit.

    Formula: theta = theta * m, where m keeps the largest |theta|; then L = CE(retain) with m fixed,
        so a pruned weight stays exactly zero.
    Cost: that of fine-tuning. The zeros make a step no faster.
    Limits: at a high sparsity a small network cannot be repaired, and test accuracy is lost for
        good.
    Source: Jia et al., NeurIPS 2023, "prune first, then unlearn", 95% of the weights, then
        fine-tuning with learning rate 0.01 for 10 epochs.
    Differences: weights are ranked in one pass over all convolutions and linear layers except the
        head. The authors' code prunes convolutions only, which leaves a transformer or a perceptron
        unpruned. The defaults of the training are those of `finetune`.
    """

    name: ClassVar[str] = "prune"
    source: ClassVar[str] = "Jia et al., NeurIPS 2023"

    sparsity: Share = Field(0.95, description="Share of the weights that is set to zero.")

    def check(self, classifier: Classifier, data: Data, split: Split | None) -> None:
        super().check(classifier, data, split)
        if self.sparsity:
            prunable(classifier.inner, classifier.head)

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        fit = self.fit(cross_entropy("retain"))
        if self.sparsity == 0:
            yield fit
            return
        masks = unpruned(prunable(model, task.classifier.head), self.sparsity)
        yield Edit(f"prune {self.sparsity:.0%} of the weights", lambda m: zero(m, masks))
        everything = {name: True for name, _ in model.named_parameters()}
        yield replace(fit, mask={**everything, **masks})


def prunable(model: nn.Module, head: nn.Module) -> dict[str, Tensor]:
    """Return the weights of every convolution and linear layer except *head*, by parameter name.

    Frozen weights are left out.

    Raises: CounError if there are none.
    """
    kinds = (nn.modules.conv._ConvNd, nn.Linear)
    layers = [m for m in model.modules() if isinstance(m, kinds) and m is not head]
    ids = {id(layer.weight) for layer in layers if layer.weight.requires_grad}
    weights = {name: p.detach() for name, p in model.named_parameters() if id(p) in ids}
    if not weights:
        raise CounError(
            "the model has no convolution or linear layer besides its head that may change; "
            "expected one at least, because prune needs weights to remove"
        )
    return weights


def unpruned(weights: dict[str, Tensor], sparsity: float) -> dict[str, Tensor]:
    """Return bool masks of *weights*, False at the share *sparsity* of smallest magnitude."""
    size = sum(w.numel() for w in weights.values())
    return top_k_masks(weights, size - round(sparsity * size))


@torch.no_grad()
def zero(model: nn.Module, masks: dict[str, Tensor]) -> None:
    """Set to zero, in place, the weights at which *masks* are False."""
    for name, mask in masks.items():
        parameter = model.get_parameter(name)
        parameter.masked_fill_(~mask.to(parameter.device), 0.0)
