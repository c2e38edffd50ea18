"""Keeping weights still while others are trained."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from coun.errors import unknown
from coun.models.modes import is_frozen


class Frozen:
    """Keeps the weights still that the mask of a `Fit` forbids to move, inside a `with` block.

    A parameter that is frozen as a whole gets no gradient, which also saves its backward pass.
    One that is frozen in part is restored after each step, because momentum and weight decay
    would move even entries whose gradient is zero. `requires_grad` is restored afterwards.

    Raises: CounError if the mask names a parameter that *model* does not have.
    """

    def __init__(self, model: nn.Module, mask: Mapping[str, Tensor | bool] | None) -> None:
        self.model = model
        self._requires_grad = {p: p.requires_grad for p in model.parameters()}
        self._partly_frozen: list[tuple[Tensor, Tensor, Tensor]] = []  # parameter, free, start
        if mask is None:
            return
        parameters = dict(model.named_parameters())
        for name in mask:
            if name not in parameters:
                raise unknown("parameter", name, parameters)
        for name, parameter in parameters.items():
            free = mask.get(name, False)
            if isinstance(free, Tensor):
                self._partly_frozen.append(
                    (parameter, free.to(parameter.device), parameter.detach().clone())
                )
            else:
                parameter.requires_grad_(free and parameter.requires_grad)

    def __enter__(self) -> Frozen:
        return self

    def set_modes(self) -> None:
        """Set training mode, except for a BatchNorm that is frozen: its statistics must stay.

        The network sets the modes of its layers itself, and may leave some in eval mode.
        """
        self.model.train()
        for module in self.model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and is_frozen(module):
                module.eval()

    @torch.no_grad()
    def restore(self) -> None:
        """Restore the frozen entries of parameters that are frozen in part."""
        for parameter, free, start in self._partly_frozen:
            parameter.copy_(torch.where(free, parameter, start))

    def __exit__(self, *_: object) -> None:
        for parameter, requires_grad in self._requires_grad.items():
            parameter.requires_grad_(requires_grad)
