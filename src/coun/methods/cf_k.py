"""CF-k: fine-tune only the last k blocks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import nn

from coun.engine import Fit, Stage, Task
from coun.objectives import cross_entropy
from coun.plans.method import FROZEN, LearningRate, Training


@dataclass(frozen=True, config=FROZEN)
class CFk(Training):
    """Fine-tune the last k blocks and the head on the retain rows; freeze the rest (CF-k).

    The last layers are the ones most specific to single rows, so only these are trained to
    forget. Frozen weights and their BatchNorm statistics keep every bit.

    For what counts as a block see `blocks`. With k = 2 these are the last stage ("layer4") of
    resnet18, two of the three blocks of resnet8, the last convolution and the encoder of cnn
    and vgg16, two of the ViT's six layers, and all of mlp. With k at least the number of
    blocks it is fine-tuning, to the last bit.

    Formula: L = CE(retain), with gradients for the last k blocks and the head only.
    Cost: that of fine-tuning, as it is counted; a smaller k makes the backward pass somewhat
        faster.
    Limits: whatever the frozen encoder has learned of the forget rows stays in it, and relearning
        brings it back.
    Source: Goel et al., 2022 (catastrophic forgetting-k); SCRUB (Kurmanji et al., NeurIPS 2023):
        layer4 of a ResNet-18, learning rate 0.01, x0.1 at epochs 10, 15 and 20, batches of 64.
    Differences: the code of Goel et al. counts the head as one of the k layers, and lets the
        statistics of frozen BatchNorm layers move. DeepUnlearn trains in eval mode with a penalty
        on the distance to the start; that is another method.
    """

    name: ClassVar[str] = "cf_k"
    source: ClassVar[str] = "Goel et al., 2022; settings of SCRUB, NeurIPS 2023"

    k: int = Field(2, ge=0, description="Number of blocks that are trained; 0: the head alone.")
    lr: LearningRate = Field(0.01)

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        yield self.fit_tail(model, tail(model, task.classifier.head, self.k))

    def fit_tail(self, model: nn.Module, prefixes: tuple[str, ...]) -> Fit:
        """Make the stage that trains the parameters whose names start with one of *prefixes*."""
        mask = {name: name.startswith(prefixes) for name, _ in model.named_parameters()}
        return self.fit(cross_entropy("retain"), mask=mask)


def tail(model: nn.Module, head: nn.Module, k: int) -> tuple[str, ...]:
    """Return the name prefixes of the last *k* blocks and *head*; ("",) is the whole model."""
    groups = blocks(model, head)
    if k >= len(groups):
        return ("",)
    name = next(name for name, module in model.named_modules() if module is head)
    return (*(path for group in groups[len(groups) - k :] for path in group), f"{name}.")


def blocks(model: nn.Module, head: nn.Module) -> list[list[str]]:
    """Split *model* into its blocks, in order of registration.

    A block is a module that owns parameters. An nn.Sequential, an nn.ModuleList, the modules that
    hold *head*, and a block that is the only one are opened, and their children taken instead. A
    normalisation layer belongs to the block before it. Parameters of an opened module itself (a
    position embedding) are in no block. So a BasicBlock or a transformer layer is one block, and
    so is a convolution with its BatchNorm.

    Returns: for each block, the name prefixes of its modules.
    """
    modules = list(_open("", model, head))
    while len(modules) == 1 and (children := list(_open(*modules[0], head))):
        modules = children
    groups: list[list[str]] = []
    for path, module in modules:
        norm = isinstance(module, nn.LayerNorm) or all(p.ndim <= 1 for p in module.parameters())
        if norm and groups:
            groups[-1].append(path)
        else:
            groups.append([path])
    return groups


def _open(path: str, module: nn.Module, head: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, child in module.named_children():
        if child is head or next(child.parameters(), None) is None:
            continue
        # Exactly these types: a subclass may have its own forward, and is then a block.
        if type(child) in (nn.Sequential, nn.ModuleList) or head in list(child.modules()):
            yield from _open(f"{path}{name}.", child, head)
        else:
            yield f"{path}{name}.", child
