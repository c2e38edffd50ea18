"""Weights that must not move while others are trained."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType

import torch
from torch import Tensor, nn

from coun.errors import unknown


class Frozen:
    """Holds what a `Fit`'s mask forbids to move, inside a `with` block.

    A parameter that is frozen whole gets no gradient, which also saves its backward; one that
    is frozen in part is put back after each update, because momentum and weight decay would
    move entries whose gradient is zero. `requires_grad` is as it was afterwards.

    Raises: CounError if the mask names a parameter that *model* does not have.
    """

    def __init__(self, model: nn.Module, mask: Mapping[str, Tensor | bool] | None) -> None:
        self.model = model
        self._wanted = {p: p.requires_grad for p in model.parameters()}
        self._parts: list[tuple[Tensor, Tensor, Tensor]] = []
        if mask is None:
            return
        parameters = dict(model.named_parameters())
        for name in mask:
            if name not in parameters:
                raise unknown("parameter", name, parameters)
        for name, parameter in parameters.items():
            free = mask.get(name, False)
            if isinstance(free, Tensor):
                self._parts.append(
                    (parameter, free.to(parameter.device), parameter.detach().clone())
                )
            else:
                parameter.requires_grad_(free and parameter.requires_grad)

    def __enter__(self) -> Frozen:
        return self

    def set_modes(self) -> None:
        """Training mode, but for BatchNorm whose weights are all frozen: its statistics stay."""
        self.model.train()
        for module in self.model.modules():
            own = list(module.parameters(recurse=False))
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and own:
                module.train(any(p.requires_grad for p in own))

    @torch.no_grad()
    def restore(self) -> None:
        """Put back the masked entries of parameters that are frozen in part."""
        for parameter, free, start in self._parts:
            parameter.copy_(torch.where(free, parameter, start))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for parameter, wanted in self._wanted.items():
            parameter.requires_grad_(wanted)
