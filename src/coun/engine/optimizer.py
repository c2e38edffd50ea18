"""Optimizers and learning-rate schedules, as plain settings."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from torch import nn

if TYPE_CHECKING:
    from coun.engine.stage import Fit

ScheduleName = Literal["cosine", "multistep", "constant"]


@dataclass(frozen=True)
class Optimizer:
    """An optimizer and its learning-rate schedule.

    Args:
        kind: "sgd" (with momentum) or "adamw".
        lr: peak learning rate.
        momentum: momentum of SGD; AdamW keeps torch's betas.
        weight_decay: weight decay on every parameter, also those of BatchNorm and biases, as is
            usual in this field.
        schedule: "cosine" decays to *lr_floor*, "multistep" multiplies by *gamma* at each of
            *milestones* (fractions of the run), "constant" does neither.
        lr_floor: learning rate at the end of the cosine.
        warmup: fraction of the run in which the rate first rises linearly from 0.
        milestones: when "multistep" changes the rate, as fractions of the run.
        gamma: the factor of "multistep".
        begin: fraction of the schedule that is behind when the run starts.

    >>> Optimizer(lr=0.1, schedule="multistep").rate(0.6)
    0.010000000000000002
    """

    kind: Literal["sgd", "adamw"] = "sgd"
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: ScheduleName = "cosine"
    lr_floor: float = 0.0
    warmup: float = 0.0
    milestones: tuple[float, ...] = (0.5, 0.75)
    gamma: float = 0.1
    begin: float = 0.0

    def rate(self, progress: float) -> float:
        """Return the learning rate when the fraction *progress* (0 <= progress < 1) is done."""
        progress = self.begin + (1 - self.begin) * progress
        if progress < self.warmup:
            return self.lr * progress / self.warmup
        if self.schedule == "constant":
            return self.lr
        if self.schedule == "multistep":
            return self.lr * self.gamma ** sum(progress >= m for m in self.milestones)
        annealed = (progress - self.warmup) / (1 - self.warmup)
        floor = min(self.lr_floor, self.lr)
        return floor + (self.lr - floor) * (1 + math.cos(math.pi * annealed)) / 2

    def build(
        self, parameters: Iterable[nn.Parameter], *, rate_on: torch.device | None = None
    ) -> torch.optim.Optimizer:
        """Make the torch optimizer of *parameters*, fused to one kernel per step.

        Args: rate_on: a device on which the learning rate lives as a tensor, so that a step can be
            captured in a graph and is not compiled again for each rate; None keeps a number.
        """
        rate: float | torch.Tensor = self.lr
        if rate_on is not None:
            # Kernels of a GPU read float32; on a CPU the rate keeps all digits of the number.
            dtype = torch.float64 if rate_on.type == "cpu" else torch.float32
            rate = torch.tensor(self.lr, dtype=dtype, device=rate_on)
        # The first optimizer of a process imports torch's compiler, which sets filters of warnings.
        with warnings.catch_warnings():
            if self.kind == "adamw":
                return torch.optim.AdamW(
                    parameters, rate, weight_decay=self.weight_decay, fused=True
                )
            return torch.optim.SGD(
                parameters, rate, self.momentum, weight_decay=self.weight_decay, fused=True
            )


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of the next step, in place where it is a tensor."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(min(rate, torch.finfo(group["lr"].dtype).max))
        else:
            group["lr"] = rate


class Optimizers(NamedTuple):
    """The optimizers of one `Fit`.

    Args:
        shared: the one that its phases share.
        of_phases: for each phase, the one that it uses.
    """

    shared: torch.optim.Optimizer
    of_phases: list[torch.optim.Optimizer]

    @classmethod
    def of(cls, stage: Fit, model: nn.Module, device: torch.device) -> Optimizers:
        """Make the optimizers of *stage*, which trains *model* and the modules of the stage."""
        rate_on = device if device.type == "cuda" else None
        both = [*model.parameters(), *(p for m in stage.modules for p in m.parameters())]
        shared = stage.optimizer.build((p for p in both if p.requires_grad), rate_on=rate_on)
        own = [p for p in model.parameters() if p.requires_grad]
        return cls(
            shared,
            [
                phase.optimizer.build(own, rate_on=rate_on) if phase.optimizer else shared
                for phase in stage.phases
            ],
        )

    @property
    def distinct(self) -> list[torch.optim.Optimizer]:
        """Every optimizer once, the shared one first, as checkpoints hold them."""
        return list(dict.fromkeys([self.shared, *self.of_phases]))
