"""Copies of models, and models with lazy layers."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from coun.errors import CounError

Model = TypeVar("Model", bound=nn.Module)


def copy_model(model: Model) -> Model:
    """Copy *model* with all its weights, as `copy.deepcopy`, also after a forward with weight_norm.

    `torch.nn.utils.weight_norm` keeps the weight that it computed in the last forward as a plain
    attribute, which belongs to a graph and which deepcopy refuses. The copy gets its values; the
    next forward computes it anew.

    >>> layer = torch.nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))
    >>> copy_model(layer) is layer
    False
    """
    computed: dict[int, Any] = {
        id(value): value.detach().clone()
        for module in model.modules()
        for value in vars(module).values()
        if isinstance(value, Tensor) and not value.is_leaf
    }
    return copy.deepcopy(model, computed)


def inner_network(model: nn.Module) -> nn.Module:
    """Return the network inside a LightningModule that holds only one; else *model* itself.

    A LightningModule that was trained refers to its trainer, with loaders and loggers, which
    cannot be copied, and training by coun needs none of its hooks.

    >>> layer = nn.Linear(2, 2)
    >>> inner_network(layer) is layer
    True
    """
    packages = {kind.__module__.partition(".")[0] for kind in type(model).__mro__}
    if not packages & {"lightning", "pytorch_lightning"}:
        return model
    networks = [child for child in model.children() if any(True for _ in child.parameters())]
    alone = len(networks) == 1 and len(list(model.parameters())) == len(
        list(networks[0].parameters())
    )
    return networks[0] if alone else model


def make_model(factory: Callable[[], nn.Module], shape: tuple[int, ...]) -> nn.Module:
    """Call *factory*, and give lazy layers their weights, by a forward of two blank inputs.

    The weights come from the global generator, like those of all other layers.

    Args: shape: of one input.

    >>> make_model(lambda: nn.LazyLinear(3), (5,)).weight.shape
    torch.Size([3, 5])
    """
    model = factory()
    if isinstance(model, nn.Module) and any(map(is_lazy, model.state_dict().values())):
        training = model.training
        with torch.no_grad():
            try:
                model.eval()(torch.zeros(2, *shape))
            except Exception as error:
                reason = " ".join(f"{type(error).__name__}: {error}".split())
                raise CounError(
                    f"{type(model).__name__} has lazy layers and cannot run a batch of shape "
                    f"{(2, *shape)}: {reason}"
                ) from error
        model.train(training)
    return model
