"""One update's minibatches; every (role, view) is augmented and forwarded at most once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from coun.models import Outputs


@dataclass(frozen=True, eq=False)
class Batch:
    """Raw images (B, ...) and labels (B,) of one role."""

    images: Tensor
    labels: Tensor


class Step:
    """What an objective sees: the batches of this update, and the model through their views.

    Args:
        model: the classifier in training.
        batches: one minibatch per role, e.g. `{"retain": Batch(...)}`.
        view: draws view number v of a role's images, (B, ...) float32.
        forward: runs the model under the run's precision and counts what it costs.
        gather: joins a tensor's rows over data-parallel processes, with gradient.
        progress: the part of the stage that is done, 0..1, for scheduled weights.

    Terms share forwards: CoUn's cross entropy and its contrastive term both use view 0.
    """

    def __init__(
        self,
        model: nn.Module,
        batches: dict[str, Batch],
        *,
        view: Callable[[str, int, Tensor], Tensor],
        forward: Callable[[nn.Module, Tensor], Outputs],
        gather: Callable[[Tensor], Tensor] = lambda local: local,
        progress: float = 0.0,
    ) -> None:
        self.model = model
        self.batches = batches
        self.gather = gather
        self.progress = progress
        self._view = view
        self._forward = forward
        self._inputs: dict[tuple[str, int], Tensor] = {}
        self._outputs: dict[tuple[str, int], Outputs] = {}

    def labels(self, role: str) -> Tensor:
        """Labels (B,) int64 of *role*."""
        return self.batches[role].labels

    def inputs(self, role: str, view: int = 0) -> Tensor:
        """View number *view* of the images of *role*, (B, ...) float32."""
        key = (role, view)
        if key not in self._inputs:
            self._inputs[key] = self._view(role, view, self.batches[role].images)
        return self._inputs[key]

    def outputs(self, role: str, view: int = 0, *, grad: bool = True) -> Outputs:
        """Logits (B, K) and features (B, D) of that view, float32, in training mode.

        With `grad=False` a view not forwarded before is forwarded without a graph.
        """
        key = (role, view)
        if key not in self._outputs:
            with torch.set_grad_enabled(grad):
                self._outputs[key] = self._forward(self.model, self.inputs(role, view))
        return self._outputs[key]
