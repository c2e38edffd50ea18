"""NoT: negate the first layer, then fine-tune."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar

import torch
from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass
from torch import nn

from coun.data import Data, Split
from coun.engine import Edit, Stage, Task
from coun.errors import CounError, unknown
from coun.methods.finetune import FineTune
from coun.models import Classifier
from coun.models.vit import ViT
from coun.plans.method import FROZEN

Names = Annotated[
    tuple[str, ...], BeforeValidator(lambda v: v.split(",") if isinstance(v, str) else v)
]


@dataclass(frozen=True, config=FROZEN)
class NoT(FineTune):
    """Negate the weights of the first layer, then fine-tune on the retain rows (NoT).

    Negation breaks what the later layers expect, for all rows alike. Fine-tuning repairs the
    model with retain rows only, so that what belonged to forget rows is not repaired.

    Formula: theta_1 becomes -theta_1; then L = CE(retain).
    Cost: that of fine-tuning; the negation costs nothing.
    Limits: the loss is very large at first, and a learning rate above 0.1 diverges. With few epochs
        the repair is incomplete, and retain and test accuracy are low.
    Source: Khalil et al., CVPR 2025 (there for federated learning), as CoUn uses it: the first
        convolution is negated, and for a ViT the position embedding and the patch projection
        (parameter indices 0 and 4).
    Differences: in vit-pytorch, parameter 0 is the position embedding of the transformer for small
        data, but in its present plain ViT the class token; here it is the embedding in both.
    """

    name: ClassVar[str] = "not"
    source: ClassVar[str] = "NoT, Khalil et al., CVPR 2025; targets of CoUn, section 4.1"
    edits_first: ClassVar[bool] = True

    negate: Names = Field(
        (),
        description="Names of the parameters to negate, separated by commas. Default: the first "
        "weight that is not frozen; for a ViT, parameters 0 and 4.",
    )

    def check(self, classifier: Classifier, data: Data, split: Split | None) -> None:
        super().check(classifier, data, split)
        self.targets(classifier.inner)

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        targets = self.targets(model)
        yield Edit(f"negate {', '.join(targets)}", lambda m: negate(m, targets))
        yield from super().plan(model, task)

    def targets(self, model: nn.Module) -> tuple[str, ...]:
        """Return the names of the parameters of *model* that will be negated.

        Raises: CounError for a name that the model does not have, or if nothing can be negated.
        """
        parameters = dict(model.named_parameters())
        names, targets = list(parameters), self.negate
        for name in self.negate:
            if name not in names:
                raise unknown("parameter", name, names)
        if not targets and isinstance(model, ViT):
            targets = names[0], names[4]
        elif not targets:
            weights = [n for n, p in parameters.items() if p.ndim > 1 and p.requires_grad]
            if not weights:
                raise CounError(
                    "all weight matrices of the model are frozen (requires_grad is False); "
                    "expected one that may change, or name another parameter with negate=..."
                )
            targets = (weights[0],)
        frozen = [name for name in targets if not parameters[name].requires_grad]
        if frozen:
            free = [f", such as '{name}'" for name in names if parameters[name].requires_grad]
            raise CounError(
                f"'{frozen[0]}' is frozen (requires_grad is False) and cannot be negated; expected "
                f"a parameter that may change{''.join(free[:1])}; name it with negate=..."
            )
        return targets


@torch.no_grad()
def negate(model: nn.Module, names: tuple[str, ...]) -> None:
    """Flip the sign of the named parameters in place; doing it twice restores every bit."""
    for name in names:
        model.get_parameter(name).neg_()
