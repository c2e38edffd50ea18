"""Helpers of closed-form tests: data without random views, a smooth network, gradients."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import coun

# One plain step of gradient descent on all rows of a role at once.
ONE_STEP: dict[str, Any] = {
    "epochs": 1,
    "batch_size": 200,
    "lr": 0.1,
    "momentum": 0.0,
    "weight_decay": 0.0,
    "schedule": "constant",
    "warmup": 0.0,
}


def still(data: coun.Data) -> coun.Data:
    """*data* whose training views are its evaluation views."""
    return replace(data, views=replace(data.views, letters="N"))  # type: ignore[type-var]


def smooth() -> nn.Sequential:
    """A perceptron without kinks, BatchNorm or dropout."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 24), nn.Tanh(), nn.Linear(24, 10))


def loss(model: nn.Module, data: coun.Data, rows: Tensor) -> Tensor:
    """Mean cross entropy of the training *rows*, in the present mode of the model."""
    return F.cross_entropy(
        model(data.views.evaluate(data.train.fetch(rows))), data.train.labels[rows]
    )


def gradient(model: nn.Module, data: coun.Data, rows: Tensor) -> list[Tensor]:
    """The gradient of `loss`, by parameter."""
    return list(torch.autograd.grad(loss(model, data, rows), list(model.parameters())))


def moved(model: nn.Module, start: nn.Module) -> list[Tensor]:
    """The difference of each parameter between *model* and *start*."""
    pairs = zip(model.parameters(), start.parameters(), strict=True)
    return [(new - old).detach() for new, old in pairs]


def close(result: list[Tensor], expected: list[Tensor], atol: float = 1e-7) -> None:
    """Assert equality, parameter by parameter, within float32's rounding."""
    for one, other in zip(result, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=atol)
