"""Averages of models, and what it costs to send one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

State = dict[str, Tensor]


def state_of(model: nn.Module) -> State:
    """Return a copy of the weights and buffers of *model*."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def average(states: Sequence[Mapping[str, Tensor]], weights: Sequence[float]) -> State:
    """Average weights and buffers, those of BatchNorm included.

    Args:
        states: state dictionaries of one architecture.
        weights: one positive number for each, such as the number of rows; they need not add up
            to 1.

    Returns: the weighted mean, computed in float64 and returned in each tensor's own type;
        integer buffers, such as BatchNorm's count of batches, are rounded.

    Source: FedAvg, McMahan et al., AISTATS 2017, algorithm 1.

    >>> a, b = {"w": torch.tensor([1.0])}, {"w": torch.tensor([4.0])}
    >>> average([a, b], [1, 2])["w"]
    tensor([3.])
    """
    total = float(sum(weights))
    mean: State = {}
    for name, first in states[0].items():
        value = torch.zeros_like(first, dtype=torch.float64)
        for state, weight in zip(states, weights, strict=True):
            value += weight * state[name].double()
        value /= total
        mean[name] = (value if first.is_floating_point() else value.round()).to(first.dtype)
    return mean


def state_bytes(model: nn.Module) -> int:
    """Return the number of bytes of one model on its way between server and client.

    >>> state_bytes(nn.Linear(10, 3))
    132
    """
    return sum(value.numel() * value.element_size() for value in model.state_dict().values())
