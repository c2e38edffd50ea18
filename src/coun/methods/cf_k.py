"""CF-k: fine-tune the last k blocks only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import nn

from coun.engine import Fit, Stage, Task
from coun.methods.finetune import FineTune
from coun.objectives import cross_entropy
from coun.plans.method import FROZEN


@dataclass(frozen=True, config=FROZEN)
class CFk(FineTune):
    """Fine-tune the last k blocks and the head on the retain set; freeze the rest (CF-k).

    Frozen weights and their BatchNorm statistics stay to the bit. Which module is a block:
    see `blocks`. With k = 2 that is the last stage ("layer4") of resnet18, two of resnet8's
    three blocks, the last convolution and the encoder of cnn and vgg16, two of the ViT's six
    layers, and all of mlp. With k at least the number of blocks it is fine-tuning, to the bit.

    Source: Goel et al., 2022 (catastrophic forgetting-k); SCRUB (Kurmanji et al., NeurIPS
        2023): layer4 of a ResNet-18, lr 0.01, x0.1 at epochs 10, 15 and 20, batch 64.
        DeepUnlearn trains in eval mode with a penalty on the distance to the start; that is
        another method. What the frozen encoder knows of the forget set stays in it.
    """

    name: ClassVar[str] = "cf_k"
    source: ClassVar[str] = "Goel et al., 2022; settings of SCRUB, NeurIPS 2023"

    k: int = Field(2, ge=0, description="blocks that are trained; 0: the head alone")
    lr: float = Field(0.01, gt=0, description="peak learning rate")

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        yield self.train_tail(model, tail(model, task.classifier.head, self.k))

    def train_tail(self, model: nn.Module, prefixes: tuple[str, ...]) -> Fit:
        """The stage that trains the parameters whose names start with one of *prefixes*."""
        mask = {name: name.startswith(prefixes) for name, _ in model.named_parameters()}
        return replace(self.train(cross_entropy("retain")), mask=mask)


def tail(model: nn.Module, head: nn.Linear, k: int) -> tuple[str, ...]:
    """The name prefixes of the last *k* blocks and of *head*; "" if that is the whole model."""
    found = blocks(model, head)
    if k >= len(found):
        return ("",)
    name = next(name for name, module in model.named_modules() if module is head)
    return (*(path for block in found[len(found) - k :] for path in block), f"{name}.")


def blocks(model: nn.Module, head: nn.Linear) -> list[list[str]]:
    """The model's blocks in order of registration, each as the name prefixes of its modules.

    A block is a module that owns parameters. An nn.Sequential, an nn.ModuleList, whatever
    holds *head* and whatever is the only block are opened and their children taken instead;
    a normalisation layer belongs to the block before it. Parameters of an opened module
    itself (a position embedding) are in no block. So a BasicBlock or a transformer layer is
    one block, and so is a convolution with its BatchNorm.
    """
    found = list(_open("", model, head))
    while len(found) == 1 and (inner := list(_open(*found[0], head))):
        found = inner
    grouped: list[list[str]] = []
    for path, module in found:
        norm = isinstance(module, nn.LayerNorm) or all(p.ndim <= 1 for p in module.parameters())
        if norm and grouped:
            grouped[-1].append(path)
        else:
            grouped.append([path])
    return grouped


def _open(path: str, module: nn.Module, head: nn.Linear) -> Iterator[tuple[str, nn.Module]]:
    for name, child in module.named_children():
        if child is head or next(child.parameters(), None) is None:
            continue
        # The very types: a subclass may have a forward of its own, and is a block.
        if type(child) in (nn.Sequential, nn.ModuleList) or head in list(child.modules()):
            yield from _open(f"{path}{name}.", child, head)
        else:
            yield f"{path}{name}.", child
