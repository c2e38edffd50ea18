"""ARCANE: one network per class, so that a request affects only the classes of its rows."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from coun.data import Data
from coun.engine import Task, predict
from coun.models.ensemble import UNUSED, Layout, Shards
from coun.objectives import BatchContext, Objective
from coun.plans.method import FROZEN
from coun.plans.sharded import Sharded

BATCH = 1024


@dataclass(frozen=True, config=FROZEN)
class Arcane(Sharded):
    """Retrain only the one-class networks of the forgotten rows' classes (ARCANE).

    There is one network for each class, which reads no other class, and an input gets the
    class whose network finds it most normal. Only the networks of the forgotten rows' classes
    are trained again; a class may learn from its most informative rows alone, so that a
    request for another row costs nothing.

    Formula: a network learns to predict, on images of its class, the features of one fixed random
        network, scaled by their mean and deviation on the class; unlike Deep SVDD this cannot
        collapse to a constant. The score is minus the log of the mean squared error.
    Cost: the retraining of the networks of the affected classes. All networks must have been
        trained before, which is stated apart.
    Limits: it is exact, but a much weaker classifier: after 20 epochs on the digits the accuracy is
        81% (cnn) to 90% (mlp), where one network that sees all classes reaches 96%. A random
        request affects every class.
    Source: Yan et al., IJCAI 2022; for the objective Burda et al., ICLR 2019, and Ciosek et al.,
        ICLR 2020.
    Differences: neither code nor details of the paper could be read, so all but the idea is our
        design. Rows are chosen by the entropy of their own pixels, highest first; the place of a
        forgotten row goes to the next. The recorded class sizes are regarded as known. The paper's
        checkpoints within a training, with rows that are likely to be requested last, are left out.
    """

    name: ClassVar[str] = "arcane"
    source: ClassVar[str] = "ARCANE, Yan et al., IJCAI 2022 (its idea; the details are ours)"
    changes_features: ClassVar[bool] = True

    keep: float = Field(
        1.0, gt=0, le=1, description="Share of the rows of a class that its network reads."
    )

    def layout(self, data: Data) -> Layout:
        return Layout(len(data.classes), 1, "normality", len(data.train))

    def assign(self, task: Task, retained: Tensor, previous: Tensor | None) -> Tensor:
        labels = task.data.train.labels.cpu()
        assignment = labels.clone()
        if self.keep == 1:
            return assignment
        source = task.source(task.define("kept", retained.nonzero().flatten()))
        parts = torch.split(torch.arange(len(source)), BATCH)
        scores = torch.zeros(len(retained), dtype=torch.float64)
        scores[retained] = torch.cat([pixel_entropy(source.fetch(part)).cpu() for part in parts])
        for label in range(len(task.data.classes)):
            indices = (retained & (labels == label)).nonzero().flatten()
            count = math.ceil(self.keep * int((labels == label).sum()))
            ranking = scores[indices].argsort(descending=True, stable=True)
            assignment[indices[ranking[count:]]] = UNUSED
        return assignment

    def start(self, member: int, task: Task, model: Shards, *, preparation: bool) -> None:
        super().start(member, task, model, preparation=preparation)
        source, reference = task.source("shard"), model.reference
        assert reference is not None, "layout() says that there is one"
        features = predict(reference, task.data, source).features if len(source) else None
        model.fit_reference_stats(member, features)
        flops = task.flops / (len(model.members) + 1)
        task.bill(preparation).count(len(source), flops, grad=False)

    def objective(self, model: Shards, member: int) -> Objective:
        def term(context: BatchContext) -> Tensor:
            target = context.outputs("retain", model=model.reference).features
            return model.error(member, context.outputs("retain").features, target).mean()

        return Objective.of(term)


def pixel_entropy(images: Tensor) -> Tensor:
    """Compute the Shannon entropy (nats) of each image's pixel values, in 256 levels.

    Args:
        images: (B, ...) in any units; the levels span each image's own range.

    Returns: (B,) float64.
    """
    flat = images.flatten(1).double()
    low, high = flat.amin(1, keepdim=True), flat.amax(1, keepdim=True)
    levels = ((flat - low) / (high - low).clamp(min=1e-12) * 255).round().long()
    counts = torch.zeros(len(flat), 256, dtype=torch.float64, device=flat.device)
    counts.scatter_add_(1, levels, torch.ones_like(flat))
    entropy: Tensor = torch.special.entr(counts / flat.shape[1]).sum(1)
    return entropy
