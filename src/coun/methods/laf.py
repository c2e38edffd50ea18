"""LAF: forget without labels, guided by two autoencoders of the features."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import nn

from coun.engine import Optimizer, Phase, Stage, Task
from coun.objectives import cross_entropy
from coun.objectives.laf import VAE, align
from coun.plans.epochs import one_stage_per_epoch
from coun.plans.method import FROZEN, OptimizerKind, Positive, Schedule, Training, WeightDecay


@dataclass(frozen=True, config=FROZEN)
class LAF(Training):
    """Make forget features unusual for an autoencoder of them, and keep retain features (LAF).

    Two small autoencoders (VAEs) learn the features of the Original: one those of all rows,
    the other those of the forget rows. The model is then changed so that retain features stay
    easy to reconstruct and forget features become hard. Labels are used only in the optional
    repair of the head, on retain rows.

    Formula: phase 1: m of retain rows for the first VAE small, and of forget rows for the second
        large, where m = |g(e) - e|^2 in the form exp(m / (1 + m)). Phase 2 (`align_loss`): retain
        features return to the Original's direction, and forget features leave it.
    Cost: two passes over batches of both sets in each epoch, and the training of the VAEs, which is
        small.
    Limits: with its published settings a random request hardly changes the model
        (docs/results/methods.md).
    Source: Shen et al., ICLR 2024; settings of its code for CIFAR-10 (Adam 1e-5 and 4e-5, T 20, 20
        epochs; VAEs 10 epochs, Adam 1e-3).
    Differences: the authors' code alternates by batch, here by phase, so that each loss has its own
        Adam; it sums over the batch, here is the mean, which is the same for Adam; its decoder ends
        in a sigmoid, although features are not bounded, and its VAEs draw noise when they are used.
    """

    name: ClassVar[str] = "laf"
    source: ClassVar[str] = "Label-Agnostic Forgetting, Shen et al., ICLR 2024"
    changes_features: ClassVar[bool] = True
    reads: ClassVar[frozenset[str]] = frozenset({"retain", "forget"})

    epochs: Positive | None = Field(20, description="Passes over the smaller of the two sets.")
    lr: float = Field(1e-5, gt=0, description="Peak learning rate of the forgetting phases.")
    schedule: Schedule = Field("constant")
    optimizer: OptimizerKind = Field("adamw")
    weight_decay: WeightDecay = Field(0.0)
    align_lr: float = Field(4e-5, gt=0, description="Peak learning rate of the aligning phases.")
    temperature: float = Field(
        20.0, gt=0, description="Temperature of the forget part of the alignment, T."
    )
    latent: Positive = Field(16, description="Latent size of the VAEs.")
    vae_epochs: Positive = Field(10, description="Passes of each VAE over its rows.")
    vae_lr: float = Field(1e-3, gt=0, description="Learning rate of the VAEs, with Adam.")
    repair_epochs: int = Field(
        0, ge=0, description="Passes over the retain rows in which the head alone is trained."
    )
    repair_lr: float = Field(1e-4, gt=0, description="Peak learning rate of the repair.")

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        _, size = self.budget()
        teacher, base = task.teacher(), self.optimization()
        with task.seeds.as_global("init", "laf"):
            width = teacher.in_features
            all_vae, forget_vae = (VAE(width, self.latent).to(task.device) for _ in range(2))
        indices = torch.cat([task.indices("retain"), task.indices("forget")])
        vaes = (
            Phase(all_vae.learn("all", teacher), {task.define("all", indices): size}),
            Phase(forget_vae.learn("forget", teacher), {"forget": size}),
        )
        yield self.fit(
            *vaes,
            name="autoencoders",
            epochs=self.vae_epochs,
            optimizer=Optimizer("adamw", self.vae_lr, weight_decay=0.0, schedule="constant"),
            mask={},
            modules=(all_vae, forget_vae),
        )
        for vae in (all_vae, forget_vae):
            vae.requires_grad_(False)
        # The first role sets the length of a phase: the smaller set.
        smaller_first = sorted(self.reads, key=lambda role: (len(task.indices(role)), role))
        batch_sizes = dict.fromkeys(smaller_first, size)
        scores = all_vae.reconstruction_score("retain") - forget_vae.reconstruction_score("forget")
        alignment = align(teacher, temperature=self.temperature)
        optimizer = replace(base, lr=self.align_lr)
        forgetting = self.fit(Phase(scores, batch_sizes), name="forget")
        aligning = self.fit(Phase(alignment, batch_sizes), name="align", optimizer=optimizer)
        for stages in zip(
            one_stage_per_epoch(forgetting), one_stage_per_epoch(aligning), strict=True
        ):
            yield from stages
        if self.repair_epochs:
            head = f"{task.classifier.head_name}."
            yield self.fit(
                cross_entropy("retain"),
                name="repair",
                epochs=self.repair_epochs,
                optimizer=replace(base, lr=self.repair_lr),
                mask={n: True for n, _ in model.named_parameters() if n.startswith(head)},
            )
