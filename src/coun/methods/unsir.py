"""UNSIR: impair the model with noise that stands for the forgotten classes, then repair it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional as F

from coun.engine import Optimizer, Phase, Stage, Task
from coun.objectives import BatchContext, Objective, cross_entropy
from coun.plans.method import (
    FROZEN,
    OptimizerKind,
    Positive,
    Schedule,
    Share,
    Training,
    WeightDecay,
)


@dataclass(frozen=True, config=FROZEN)
class Unsir(Training):
    """Learn noise that the model does not assign to the class, train on it, repair (UNSIR).

    Noise that is as unlike the class as possible is trained under the label of the class,
    which overwrites what the model knows of it; then the model is repaired on retain images.
    Of forget rows only labels are read.

    Formula: the noise, in the form of model inputs, minimises -CE(noise, class) + decay * mean
        |noise|^2 for the frozen Original in eval mode. Then L = CE(retain and noise), and at last L
        = CE(retain).
    Cost: a few steps for the noise, then two passes over (a part of) the retain rows.
    Limits: made for one class. A request over several classes learns noise for each, and where a
        class is retained in part, the noise competes with its retained images. Texts are refused,
        because token ids have no gradient.
    Source: Tarun et al., 2023; settings of SSD's code (32 images, 25 steps of Adam 0.1; Adam 1e-4,
        500 retain images per class; 80 copies of the noise, a noise_share of 36% on CIFAR-10). Its
        own notebook has 256 noise images, 40 steps, 1,000 retain images per class, and Adam at 0.02
        to impair and at 0.01 to repair.
    Differences: the noise is drawn anew for every batch, in a fixed share; SSD's code shuffles 80
        copies of it with the images. There the model may be in any mode while the noise is trained,
        and the gradients that this leaves in the model enter the first step of the impair stage.
    """

    name: ClassVar[str] = "unsir"
    source: ClassVar[str] = "UNSIR, Tarun et al., IEEE TNNLS 2023"
    reads: ClassVar[frozenset[str]] = frozenset({"retain", "forget"})
    changes_inputs: ClassVar[bool] = True

    epochs: Positive | None = Field(
        1, description="Passes over the retain rows, in the impair stage and in the repair stage."
    )
    batch_size: Positive | None = Field(256, description="Rows per step.")
    lr: float = Field(1e-4, gt=0, description="Peak learning rate of both stages.")
    schedule: Schedule = Field("constant")
    optimizer: OptimizerKind = Field("adamw")
    weight_decay: WeightDecay = Field(0.0)
    per_class: Positive = Field(500, description="Largest number of retain rows per class.")
    noise_share: Share = Field(0.36, gt=0, description="Share of noise in an impair batch.")
    noise_images: Positive = Field(32, description="Number of noise images per class.")
    noise_steps: Positive = Field(25, description="Number of steps that the noise is trained for.")
    noise_lr: float = Field(0.1, gt=0, description="Learning rate of the noise, with Adam.")
    noise_decay: float = Field(0.1, ge=0, description="Weight of the squared norm of the noise.")

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        _, size = self.budget()
        true, teacher, n = task.data.train.labels.cpu(), task.teacher(), self.noise_images
        classes, g = torch.unique(true[task.indices("forget")]), task.seeds.torch("unsir")
        shape = (n, *task.data.input_shape)
        noise = nn.ParameterList(torch.randn(shape, generator=g).to(task.device) for _ in classes)
        retain = task.indices("retain")
        retain = retain[torch.randperm(len(retain), generator=g)]
        few = [retain[true[retain] == c][: self.per_class] for c in torch.unique(true[retain])]
        roles = {"retain": task.define("retain part", torch.cat(few))}

        def learn(number: int) -> Objective:
            def term(context: BatchContext) -> Tensor:
                x: Tensor = noise[number]
                y = classes[number].expand(n).to(task.device)
                loss = F.cross_entropy(context.forward(x, teacher).logits, y)
                return self.noise_decay * x.square().flatten(1).sum(1).mean() - loss

            return Objective.of(term)

        yield self.fit(
            *(Phase(learn(k), {}, steps=self.noise_steps) for k in range(len(classes))),
            name="noise",
            epochs=1,
            optimizer=Optimizer("adamw", self.noise_lr, weight_decay=0.0, schedule="constant"),
            mask={},
            modules=(noise,),
        )
        images = torch.cat(list(noise)).detach()
        labels = classes.repeat_interleave(n).to(task.device)

        def impair(context: BatchContext) -> Tensor:
            real = context.inputs("retain")
            count = max(1, round(len(real) * self.noise_share / (1 - self.noise_share)))
            chosen = torch.randint(len(images), (count,), generator=context.generator("noise"))
            out = context.forward(torch.cat([real, images[chosen]]))
            return F.cross_entropy(
                out.logits, torch.cat([context.labels("retain"), labels[chosen]])
            )

        mixed = max(1, round(size * (1 - self.noise_share)))
        yield self.fit(Phase(Objective.of(impair), {"retain": mixed}, roles=roles), name="impair")
        yield self.fit(Phase(cross_entropy(), {"retain": size}, roles=roles), name="repair")
