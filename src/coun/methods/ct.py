"""CT: transpose every convolution kernel, then fine-tune."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import nn

from coun.data import Data, Split
from coun.engine import Edit, Stage, Task
from coun.errors import CounError
from coun.methods.finetune import FineTune
from coun.models import Classifier
from coun.plans.method import FROZEN, LearningRate, LrFloor, Positive, RetainEpochs


@dataclass(frozen=True, config=FROZEN)
class CT(FineTune):
    """Exchange height and width of all convolution kernels, then fine-tune (CT).

    Transposed kernels respond to transposed patterns. Fine-tuning on retain rows soon recovers
    much of what the kernels know, but not what depended on single rows.

    Formula: exchange height and width of all square kernels, then minimise CE(retain).
    Cost: one forward and one backward pass of every retain row in each epoch.
    Limits: as with NoT the loss is large at first; a training too short to repair it leaves all
        accuracies low. A network without square kernels larger than one pixel is refused.
    Source: Convolution Transpose, a submission to the NeurIPS 2023 unlearning competition and one
        of the two best methods of DeepUnlearn (Cadet et al., 2024, arXiv 2410.01276), and its code:
        3 epochs of SGD at 1e-3, cosine, batches of 64.
    Differences: kernels that are not square are left as they are; exchanging their axes would
        change the size of what they compute.
    """

    name: ClassVar[str] = "ct"
    source: ClassVar[str] = "CT, NeurIPS 2023 competition; Cadet et al., arXiv 2410.01276"
    edits_first: ClassVar[bool] = True

    epochs: RetainEpochs = Field(3)
    batch_size: Positive | None = Field(64, description="Retain rows per step.")
    lr: LearningRate = Field(1e-3)
    lr_floor: LrFloor = Field(0.0)

    def check(self, classifier: Classifier, data: Data, split: Split | None) -> None:
        super().check(classifier, data, split)
        if not any(map(_has_kernel, classifier.modules())):
            raise CounError(
                "the model has no square convolution kernel to transpose that may change; expected "
                "a convolutional network; use another method, such as not"
            )

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        yield Edit("transpose kernels", transpose)
        yield from super().plan(model, task)


@torch.no_grad()
def transpose(model: nn.Module) -> None:
    """Exchange height and width of the square kernels of *model* that are not frozen, in place.

    >>> conv = nn.Conv2d(1, 1, 2)
    >>> before = conv.weight.detach().clone()
    >>> transpose(conv)
    >>> torch.equal(conv.weight[0, 0], before[0, 0].T)
    True
    """
    for module in filter(_has_kernel, model.modules()):
        weight = module.weight
        assert isinstance(weight, torch.Tensor)
        weight.copy_(weight.transpose(2, 3).clone())


def _has_kernel(module: nn.Module) -> bool:
    return (
        isinstance(module, nn.Conv2d)
        and module.kernel_size[0] == module.kernel_size[1] > 1
        and module.weight.requires_grad
    )
