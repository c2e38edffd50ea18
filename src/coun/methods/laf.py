"""LAF: forget without labels, by what two autoencoders know of the features."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import nn

from coun.engine import Fit, Optimizer, Phase, Stage, Task
from coun.objectives import cross_entropy
from coun.objectives.laf import VAE, align
from coun.plans.epochs import one_stage_per_epoch
from coun.plans.method import FROZEN, Positive, Training


@dataclass(frozen=True, config=FROZEN)
class LAF(Training):
    """Make forget features strange to an autoencoder of theirs, keep retain features (LAF).

    Two small VAEs learn the original's features, of all rows and of the forget rows. Then each
    epoch sweeps twice over batches of both sets: retain features stay easy for the first and
    forget features become hard for the second (m = |g(e) - e|^2, exp(m / (1 + m))); and retain
    features return to the original's direction while forget features leave it (`align_loss`).
    Labels serve only the optional repair of the head, on retain rows.

    Source: Shen et al., ICLR 2024; settings of its code for CIFAR-10 (Adam 1e-5 and 4e-5, T 20,
    20 epochs; VAEs 10 epochs, Adam 1e-3). It takes turns by batch, here by phase, so that each
    loss keeps an Adam of its own; it sums over the batch, here means, the same under Adam; its
    decoder ends in a sigmoid, though features know no bound, and its VAEs draw noise when used.
    """

    name: ClassVar[str] = "laf"
    source: ClassVar[str] = "Label-Agnostic Forgetting, Shen et al., ICLR 2024"
    reads: ClassVar[frozenset[str]] = frozenset({"retain", "forget"})

    epochs: Positive | None = Field(20, description="passes over the smaller of the two sets")
    lr: float = Field(1e-5, gt=0, description="peak learning rate of the forgetting sweeps")
    schedule: Literal["cosine", "multistep", "constant"] = Field("constant", description="of lr")
    optimizer: Literal["sgd", "adamw"] = Field("adamw", description="sgd with momentum, or adamw")
    weight_decay: float = Field(0.0, ge=0, description="on all parameters")
    align_lr: float = Field(4e-5, gt=0, description="peak learning rate of the aligning sweeps")
    temperature: float = Field(20.0, gt=0, description="T, of the forget part of the alignment")
    latent: Positive = Field(16, description="latent size of the VAEs")
    vae_epochs: Positive = Field(10, description="passes of each VAE over its rows")
    vae_lr: float = Field(1e-3, gt=0, description="learning rate of the VAEs, with Adam")
    repair_epochs: int = Field(0, ge=0, description="passes that train the head on retain rows")
    repair_lr: float = Field(1e-4, gt=0, description="peak learning rate of the repair")

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        epochs, size = self.budget()
        teacher, opt = task.teacher(), self.optimization()
        with task.seeds.as_global("init", "laf"):
            width = teacher.head.in_features
            every, gone = (VAE(width, self.latent).to(task.device) for _ in range(2))
        rows = torch.cat([task.rows("retain"), task.rows("forget")])
        everyone = Phase(every.learn("all", teacher), {task.define("all", rows): size})
        phases = (everyone, Phase(gone.learn("forget", teacher), {"forget": size}))
        adam = Optimizer("adamw", self.vae_lr, weight_decay=0.0, schedule="constant")
        yield Fit(phases, self.vae_epochs, adam, "autoencoders", mask={}, modules=(every, gone))
        for vae in (every, gone):
            vae.requires_grad_(False)
        smaller = sorted(self.reads, key=lambda role: (len(task.rows(role)), role))
        batch_sizes = dict.fromkeys(smaller, size)
        push = Phase(
            every.reconstruction_score("retain") - gone.reconstruction_score("forget"), batch_sizes
        )
        pull = Phase(align(teacher, temperature=self.temperature), batch_sizes)
        for stages in zip(
            one_stage_per_epoch(Fit((push,), epochs, opt, "forget")),
            one_stage_per_epoch(Fit((pull,), epochs, replace(opt, lr=self.align_lr), "align")),
            strict=True,
        ):
            yield from stages
        if self.repair_epochs:
            head = f"{task.classifier.head_name}."
            free = {name: True for name, _ in model.named_parameters() if name.startswith(head)}
            phase = Phase(cross_entropy("retain"), {"retain": size})
            opt = replace(opt, lr=self.repair_lr)
            yield Fit((phase,), self.repair_epochs, opt, "repair", mask=free)
