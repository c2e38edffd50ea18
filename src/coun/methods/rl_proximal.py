"""RL-proximal: random labels, and a pull of every weight back to where it was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from coun.engine import Stage, Task
from coun.methods.random_label import RandomLabel
from coun.plans.method import FROZEN


@dataclass(frozen=True, config=FROZEN)
class RLProximal(RandomLabel):
    """Train with random labels, and shrink the change of all weights in every step (RL-proximal).

    This is the soft form of SalUn. No mask is chosen in advance: after every step all weights are
    pulled back to where they were at the start, and those that have moved little return to it.

    Formula: the steps are those of random_label. After each the change d of every weight becomes
        sign(d) * max(0, |d| - t), the proximal step of an l1 penalty. The threshold t is the
        quantile of |d| at `fraction` times the share of the run that is left. With fraction 0 the
        method is random_label.
    Cost: that of random_label; finding the quantile takes time but few operations.
    Limits: those of random_label. While the share is large, nearly all changes are undone in every
        step, so only the last part of the run counts.
    Source: Fan et al., "SalUn", ICLR 2024, the soft-thresholding variant, and its code RL_proximal,
        which names no fraction; 0.5 is our choice.
    Differences: weights are pulled to where they were before the method, as in the paper; the code
        pulls them to where they were at the start of the epoch. In the code the share falls with
        the steps on retain rows only, and in each epoch ends above 0 by the share of the forget
        steps; where both sets are mixed, it falls by epoch. Here it falls with every step, to 0.
    """

    name: ClassVar[str] = "rl_proximal"
    source: ClassVar[str] = "soft-thresholding SalUn, Fan et al., ICLR 2024"

    fraction: float = Field(
        0.5, ge=0, lt=1, description="Share of all weights that return to the start at first."
    )

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        start = {name: p.detach().clone() for name, p in model.named_parameters()}

        def after_step(module: nn.Module, progress: float) -> None:
            shrink(module, start, self.fraction * (1 - progress))

        yield replace(self.stage(task), after_step=after_step if self.fraction else None)


@torch.no_grad()
def shrink(model: nn.Module, start: Mapping[str, Tensor], share: float) -> None:
    """Move all weights of *model* towards *start*, in place, until *share* of them is there.

    >>> layer = nn.Linear(3, 1, bias=False)
    >>> _ = nn.init.constant_(layer.weight, 1.0)
    >>> start = {"weight": torch.tensor([[0.0, 0.5, 3.0]])}
    >>> shrink(layer, start, 1 / 3)
    >>> layer.weight.tolist()
    [[0.5, 0.5, 1.5]]
    """
    parameters = dict(model.named_parameters())
    origin = {name: start[name].to(p) for name, p in parameters.items()}
    change = torch.cat([(p - origin[n]).flatten() for n, p in parameters.items()])
    count = int(share * len(change))
    if count == 0:
        return
    threshold = change.abs().kthvalue(count).values
    change = change.sign() * (change.abs() - threshold).clamp(min=0)
    parts = torch.split(change, [p.numel() for p in parameters.values()])
    for (name, parameter), part in zip(parameters.items(), parts, strict=True):
        parameter.copy_(origin[name] + part.view(parameter.shape))
