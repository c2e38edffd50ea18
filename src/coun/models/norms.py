"""Normalisation layers that fail on some batches, and what helps for one forward pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def lone_values_by_statistics(model: nn.Module) -> Iterator[None]:
    """Let each BatchNorm that gets one value per channel use its running statistics.

    One value has no variance, and torch raises an error. A batch of one row leads to it.
    """
    changed: list[nn.Module] = []

    def look(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        if module.training and args and args[0].numel() == args[0].shape[1]:
            module.training = False
            changed.append(module)

    with ExitStack() as stack:
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                stack.callback(module.register_forward_pre_hook(look).remove)
        try:
            yield
        finally:
            for module in changed:
                module.training = True


@contextmanager
def contiguous_group_norms(model: nn.Module) -> Iterator[None]:
    """Give each GroupNorm on the CPU its input in the usual memory format.

    In the format channels_last, its backward pass ends the process with a segmentation fault
    where its weights or its input, as behind frozen layers, need no gradient (torch 2.13).
    """

    def look(_: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        if not args or args[0].device.type != "cpu" or args[0].ndim != 4:
            return None
        # A copy, because images of one channel have both formats at once.
        return (args[0].clone(memory_format=torch.contiguous_format), *args[1:])

    with ExitStack() as stack:
        for module in model.modules():
            if isinstance(module, nn.GroupNorm):
                stack.callback(module.register_forward_pre_hook(look).remove)
        yield
