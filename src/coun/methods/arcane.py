"""ARCANE: one network a class, so that a request touches only its class."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from coun.data import Data
from coun.engine import Task, predict
from coun.methods.sharded import Sharded
from coun.models.ensemble import UNUSED, Layout, Shards
from coun.objectives import BatchContext, Objective
from coun.plans.method import FROZEN

BATCH = 1024


@dataclass(frozen=True, config=FROZEN)
class Arcane(Sharded):
    """Retrain only the one-class networks of the forgotten rows' classes (ARCANE).

    The paper's idea: one network a class, which reads no other class; the class whose network
    finds an input most normal wins; a class may learn from its most informative rows alone,
    so that a request for another row is free. Neither code nor details could be read, so the
    rest is ours. A network learns to predict, on images of its class, the features of one
    fixed random network, scaled by their mean and deviation on the class: unlike Deep SVDD it
    cannot collapse to a constant. Score: minus the log of its mean squared error. Rows are
    chosen by the entropy of their own pixels, highest first; a forgotten one's place goes to
    the next. Class sizes on file count as known. The paper's checkpoints within a training,
    with likely requests last, are left out. After 20 epochs on the digits it is right on 81%
    (cnn) to 90% (mlp), where one network that sees all classes is on 96%.

    Source: Yan et al., IJCAI 2022; for the objective Burda et al., ICLR 2019, and Ciosek et
        al., ICLR 2020.
    """

    name: ClassVar[str] = "arcane"
    source: ClassVar[str] = "ARCANE, Yan et al., IJCAI 2022 (its idea; the details are ours)"

    keep: float = Field(1.0, gt=0, le=1, description="share of a class that its network reads")

    def layout(self, data: Data) -> Layout:
        return Layout(len(data.classes), 1, "normality", len(data.train))

    def places(self, task: Task, kept: Tensor, old: Tensor | None) -> Tensor:
        labels = task.data.train.labels.cpu()
        places = labels.clone()
        if self.keep == 1:
            return places
        source = task.source(task.define("kept", kept.nonzero().flatten()))
        parts = torch.split(torch.arange(len(source)), BATCH)
        scores = torch.zeros(len(kept), dtype=torch.float64)
        scores[kept] = torch.cat([pixel_entropy(source.fetch(part)).cpu() for part in parts])
        for label in range(len(task.data.classes)):
            rows = (kept & (labels == label)).nonzero().flatten()
            count = math.ceil(self.keep * int((labels == label).sum()))
            places[rows[scores[rows].argsort(descending=True, stable=True)[count:]]] = UNUSED
        return places

    def start(self, member: int, task: Task, model: Shards) -> None:
        super().start(member, task, model)
        source, reference = task.source("shard"), model.reference
        assert reference is not None, "layout() asks for one"
        known = predict(reference, task.data, source).features if len(source) else None
        model.fit_reference_stats(member, known)
        task.cost.count(len(source), task.flops / (len(model.members) + 1), grad=False)

    def objective(self, model: Shards, member: int) -> Objective:
        def term(context: BatchContext) -> Tensor:
            known = context.outputs("retain", model=model.reference).features
            return model.error(member, context.outputs("retain").features, known).mean()

        return Objective.of(term)


def pixel_entropy(images: Tensor) -> Tensor:
    """Shannon entropy (nats) of each image's values in 256 levels, float64 (B,)."""
    flat = images.flatten(1).double()
    low, high = flat.amin(1, keepdim=True), flat.amax(1, keepdim=True)
    levels = ((flat - low) / (high - low).clamp(min=1e-12) * 255).round().long()
    counts = torch.zeros(len(flat), 256, dtype=torch.float64, device=flat.device)
    counts.scatter_add_(1, levels, torch.ones_like(flat))
    entropy: Tensor = torch.special.entr(counts / flat.shape[1]).sum(1)
    return entropy
