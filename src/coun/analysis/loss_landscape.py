"""The loss in a line or a plane through a model's weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from coun.data import Data, Split
from coun.data.examples import stratified
from coun.engine import predict
from coun.errors import CounError
from coun.models import Classifier, copy_model
from coun.seeds import Seeds

Direction = dict[str, Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Slice:
    """Losses around a model, which stands at 0.

    Args:
        steps: (P,) ascending; 1 is a step as long, filter by filter, as the weights are.
        losses: per role the mean loss, (P,), or (P, P) with the first direction down.
        forwards: images forwarded for it.
    """

    steps: np.ndarray
    losses: dict[str, np.ndarray]
    forwards: int


def filter_directions(model: nn.Module, generator: torch.Generator) -> Direction:
    """A random direction in weight space with the filters' own lengths, by parameter name.

    Each row of a weight of two or more dimensions (a filter, a neuron) is Gaussian, scaled to
    the norm of that row of the model; biases and BatchNorm's weights are 0 and stay.

    Source: Li et al., "Visualizing the loss landscape of neural nets", NeurIPS 2018, section 4.
    """
    found = {}
    for name, weight in model.named_parameters():
        if weight.ndim < 2:
            found[name] = torch.zeros_like(weight)
            continue
        draw = torch.randn(weight.shape, generator=generator).to(weight.device)
        scale = weight.detach().flatten(1).norm(dim=1) / draw.flatten(1).norm(dim=1)
        found[name] = draw * scale.view(-1, *[1] * (weight.ndim - 1))
    return found


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits.double(), labels)


def landscape(
    classifier: Classifier,
    data: Data,
    split: Split,
    *,
    dimensions: int = 1,
    radius: float = 1.0,
    points: int = 21,
    limit: int | None = 1000,
    seed: int = 0,
    directions: Sequence[Mapping[str, Tensor]] | None = None,
    loss: Loss = _cross_entropy,
) -> Slice:
    """Retain and forget loss at `weights + a d` or `weights + a d + b e`, |a|, |b| <= *radius*.

    The directions are `filter_directions` from *seed* unless given, by the model's parameter
    names. Eval mode and deterministic views; BatchNorm keeps its statistics, as Li et al. do.
    The model is copied, not changed. It costs points ** dimensions passes over the rows.

    Args:
        dimensions: 1 or 2.
        points: per direction; odd, so that the model itself is one of them.
        limit: at most this many rows of each role, a seeded stratified subset; None takes all.
        loss: of logits (N, K) and labels (N,), mean cross entropy by default.

    Raises: CounError for other dimensions or points, or directions that do not fit.
    """
    if dimensions not in (1, 2):
        raise CounError(f"a landscape has {dimensions} dimensions; expected 1 or 2")
    if points < 3 or points % 2 == 0:
        raise CounError(f"a landscape has {points} points a direction; expected 3, 5, 7, ...")
    model = classifier.inner
    if directions is None:
        seeds = Seeds(seed).fork("landscape")
        directions = [filter_directions(model, seeds.torch(i)) for i in range(dimensions)]
    centre = {name: p.detach().clone() for name, p in model.named_parameters()}
    if len(directions) != dimensions or any(d.keys() != centre.keys() for d in directions):
        raise CounError(f"expected {dimensions} directions with the model's parameter names")
    parts = {}
    for role in ("retain", "forget"):
        rows = split.rows(data, role)
        if limit is not None and limit < len(rows):
            rows = rows[stratified(data.train.labels[rows], limit, seed)]
        parts[role] = data.train.take(rows)
    moved = copy_model(classifier).requires_grad_(False)
    places = dict(moved.inner.named_parameters())
    steps = np.linspace(-radius, radius, points)
    steps[points // 2] = 0  # exactly
    losses = {role: np.empty((points,) * dimensions) for role in parts}
    for at in np.ndindex(*losses["retain"].shape):
        for name, place in places.items():
            moves = (float(steps[i]) * d[name] for i, d in zip(at, directions, strict=True))
            place.copy_(sum(moves, start=centre[name]))
        for role, part in parts.items():
            logits = predict(moved, data, part).logits
            losses[role][at] = float(loss(logits, part.labels.cpu()))
    forwards = points**dimensions * sum(map(len, parts.values()))
    return Slice(steps, losses, forwards)
