"""UNSIR: impair the model with noise that stands for the forgotten classes, then repair it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from coun.engine import Fit, Optimizer, Phase, Stage, Task
from coun.objectives import BatchContext, Objective, cross_entropy
from coun.plans.method import FROZEN, Positive, Share, Training


@dataclass(frozen=True, config=FROZEN)
class Unsir(Training):
    """Learn noise that the model does not take for the class, train on it, repair (UNSIR).

    Noise, as the model takes inputs, minimises -CE(noise, class) + decay * mean |noise|^2 before
    the frozen original in eval mode. The model then trains on retain images mixed with noise
    under the class's label, and last on retain images alone. Of forget data only labels are read.
    Made for one class; a request over several learns noise for each, and where a class is
    retained in part, noise and its images compete.

    Source: Tarun et al., 2023; settings of SSD's code (32 images, 25 steps of Adam 0.1; Adam 1e-4,
    500 retain images a class; 80 copies of the noise, a noise_share of 36% on CIFAR-10).
    """

    name: ClassVar[str] = "unsir"
    source: ClassVar[str] = "UNSIR, Tarun et al., IEEE TNNLS 2023"
    reads: ClassVar[frozenset[str]] = frozenset({"retain", "forget"})

    epochs: Positive | None = Field(1, description="passes of the impair, and of the repair")
    batch_size: Positive | None = Field(256, description="images an update")
    lr: float = Field(1e-4, gt=0, description="peak learning rate, of impair and of repair")
    schedule: Literal["cosine", "multistep", "constant"] = Field("constant", description="of lr")
    optimizer: Literal["sgd", "adamw"] = Field("adamw", description="sgd with momentum, or adamw")
    weight_decay: float = Field(0.0, ge=0, description="on all parameters")
    per_class: Positive = Field(500, description="retain images of each class, at most")
    noise_share: Share = Field(0.36, gt=0, description="of an impair batch")
    noise_images: Positive = Field(32, description="noise images for a class")
    noise_steps: Positive = Field(25, description="updates of the noise")
    noise_lr: float = Field(0.1, gt=0, description="learning rate of the noise, with Adam")
    noise_decay: float = Field(0.1, ge=0, description="weight of the noise's squared norm")

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        epochs, size = self.budget()
        truth, frozen, n = task.data.train.labels.cpu(), task.teacher(), self.noise_images
        classes, g = torch.unique(truth[task.rows("forget")]), task.seeds.torch("unsir")
        blank = torch.zeros((n, *task.data.shape), dtype=task.data.dtype)
        shape = task.data.views.evaluate(blank).shape
        noise = nn.ParameterList(torch.randn(shape, generator=g).to(task.device) for _ in classes)
        rows = task.rows("retain")
        rows = rows[torch.randperm(len(rows), generator=g)]
        few = [rows[truth[rows] == c][: self.per_class] for c in torch.unique(truth[rows])]
        part = {"retain": task.define("retain part", torch.cat(few))}

        def learn(number: int) -> Objective:
            def term(context: BatchContext) -> Tensor:
                x: Tensor = noise[number]
                y = classes[number].expand(n).to(task.device)
                loss = F.cross_entropy(context.forward(x, frozen).logits, y)
                return self.noise_decay * x.square().flatten(1).sum(1).mean() - loss

            return Objective.of(term)

        phases = tuple(Phase(learn(k), {}, steps=self.noise_steps) for k in range(len(classes)))
        adam = Optimizer("adamw", self.noise_lr, weight_decay=0.0, schedule="constant")
        yield Fit(phases, 1, adam, "noise", mask={}, modules=(noise,))
        images = torch.cat(list(noise)).detach()
        labels = classes.repeat_interleave(n).to(task.device)

        def impair(context: BatchContext) -> Tensor:
            kept = context.inputs("retain")
            count = max(1, round(len(kept) * self.noise_share / (1 - self.noise_share)))
            chosen = torch.randint(len(images), (count,), generator=context.generator("noise"))
            out = context.forward(torch.cat([kept, images[chosen]]))
            return F.cross_entropy(
                out.logits, torch.cat([context.labels("retain"), labels[chosen]])
            )

        mixed = max(1, round(size * (1 - self.noise_share)))
        phase = Phase(Objective.of(impair), {"retain": mixed}, roles=part)
        yield Fit((phase,), epochs, self.optimization(), "impair")
        phase = Phase(cross_entropy("retain"), {"retain": size}, roles=part)
        yield Fit((phase,), epochs, self.optimization(), "repair")
