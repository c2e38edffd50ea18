"""The loss along a line through the weights of a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from coun.data import Data, Split
from coun.data.subsets import stratified
from coun.engine import predict
from coun.errors import CounError
from coun.models import Classifier, copy_model
from coun.seeds import Seeds

Direction = dict[str, Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Slice:
    """Losses around a model, which is at step 0.

    Attributes:
        steps: (P,) ascending; a step of 1 is as long, filter by filter, as the weights are.
        losses: by role the mean loss at each step, (P,).

    >>> around = Slice(np.array([-1.0, 0.0, 1.0]), {"retain": np.array([2.0, 0.1, 1.5])})
    >>> float(around.steps[around.losses["retain"].argmin()])
    0.0
    """

    steps: np.ndarray
    losses: dict[str, np.ndarray]


def filter_directions(model: nn.Module, generator: torch.Generator) -> Direction:
    """Draw a random direction in weight space in which every filter has the model's length.

    Each row of a weight with two or more dimensions (a filter, a neuron) is Gaussian, scaled to
    the norm of that row in the model. Biases and the weights of BatchNorm do not move.

    Args: model: gives names, shapes and norms; generator: draws the direction.

    Returns: by parameter name a tensor of its shape.

    Source: Li et al., "Visualizing the loss landscape of neural nets", NeurIPS 2018, section 4.

    >>> model = nn.Linear(3, 2)
    >>> direction = filter_directions(model, torch.Generator())
    >>> torch.allclose(direction["weight"].norm(dim=1), model.weight.norm(dim=1))
    True
    """
    direction = {}
    for name, weight in model.named_parameters():
        if weight.ndim < 2:
            direction[name] = torch.zeros_like(weight)
            continue
        draw = torch.randn(weight.shape, generator=generator).to(weight.device)
        scale = weight.detach().flatten(1).norm(dim=1) / draw.flatten(1).norm(dim=1)
        direction[name] = draw * scale.view(-1, *[1] * (weight.ndim - 1))
    return direction


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits.double(), labels)


def landscape(
    classifier: Classifier,
    data: Data,
    split: Split,
    *,
    radius: float = 1.0,
    points: int = 21,
    limit: int | None = 1000,
    seed: int = 0,
    direction: Mapping[str, Tensor] | None = None,
    loss: Loss = _cross_entropy,
) -> Slice:
    """Compute the retain and forget loss at `weights + a * direction` for |a| <= *radius*.

    The model is copied, not changed. It is in eval mode with deterministic views, and BatchNorm
    keeps its statistics, as in Li et al.

    Args:
        classifier: the model.
        data: whose training rows are used.
        split: which rows are retained and forgotten.
        radius: the largest step.
        points: the number of steps; odd, so that the model itself is one of them. Each costs
            one pass over the rows.
        limit: at most this many rows of each role, drawn from *seed*, stratified by class;
            None takes all.
        seed: also of the direction.
        direction: by parameter name; by default `filter_directions`.
        loss: of logits (N, K) and labels (N,), by default the mean cross entropy.

    Raises: CounError if *points* is even or below 3, or the direction does not fit the model.

    >>> import coun
    >>> data = coun.load("digits", limit=50)
    >>> run, split = coun.train(data, "mlp", epochs=1), coun.Split.random(data, 0.1)
    >>> around = landscape(run.classifier, data, split, points=3)
    >>> around.steps.tolist(), sorted(around.losses)
    ([-1.0, 0.0, 1.0], ['forget', 'retain'])
    """
    if points < 3 or points % 2 == 0:
        raise CounError(f"a landscape with {points} points; expected an odd number, 3 or more")
    model = classifier.inner
    if direction is None:
        direction = filter_directions(model, Seeds(seed).fork("landscape").torch(0))
    centre = {name: p.detach().clone() for name, p in model.named_parameters()}
    if direction.keys() != centre.keys():
        raise CounError("the direction has other names than the parameters of the model")
    parts = {}
    for role, part in (("retain", "retain"), ("forget", "forgotten")):
        rows = split.rows(data, part)
        if limit is not None and limit < len(rows):
            rows = rows[stratified(data.train.labels[rows], limit, seed)]
        parts[role] = data.train.take(rows)
    moved = copy_model(classifier).requires_grad_(False)
    steps = np.linspace(-radius, radius, points)
    steps[points // 2] = 0  # exactly, without a rounding error
    losses = {role: np.empty(points) for role in parts}
    for number, step in enumerate(steps):
        for name, weight in moved.inner.named_parameters():
            weight.copy_(centre[name] + float(step) * direction[name])
        for role, examples in parts.items():
            logits = predict(moved, data, examples).logits
            losses[role][number] = float(loss(logits, examples.labels.cpu()))
    return Slice(steps, losses)
