"""The modes of the layers of a network, which measurements and training change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

MODES_MATTER = (_BatchNorm, _DropoutNd)


@contextmanager
def in_eval_mode(model: nn.Module) -> Iterator[None]:
    """Put all modules of *model* into eval mode, and restore the mode of each afterwards."""
    with _restored_modes(model):
        model.eval()
        yield


def layers_put_into_eval_mode(model: nn.Module) -> list[str]:
    """Name the layers of a network in train mode that are in eval mode, as `train` would not leave.

    Whoever calls `layer.eval()` in a network that is being trained wants the statistics of a
    BatchNorm kept, or a dropout off. `model.train()`, with which every training begins, sets the
    layer to train mode again, unless the network has a `train` of its own, or the weights of the
    BatchNorm are frozen.

    >>> model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    >>> _ = model[1].eval()
    >>> layers_put_into_eval_mode(model), layers_put_into_eval_mode(model.eval())
    (['1'], [])
    """
    if not model.training:
        return []
    layers = {
        name: layer
        for name, layer in model.named_modules()
        if isinstance(layer, MODES_MATTER) and not layer.training and not is_frozen(layer)
    }
    with _restored_modes(model):
        model.train()
        return [name for name, layer in layers.items() if layer.training]


def is_frozen(layer: nn.Module) -> bool:
    """Whether *layer* has weights and none of them may change; its statistics then stay, too."""
    weights = list(layer.parameters())
    return bool(weights) and not any(weight.requires_grad for weight in weights)


@contextmanager
def _restored_modes(model: nn.Module) -> Iterator[None]:
    modes = {module: module.training for module in model.modules()}
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
