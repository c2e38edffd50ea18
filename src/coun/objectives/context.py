"""One update's minibatches; every (role, view) is augmented and forwarded at most once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from coun.models import Outputs


@dataclass(frozen=True, eq=False)
class Batch:
    """Raw images (B, ...), labels (B,) and rows (B,) of one role: positions in its row list."""

    images: Tensor
    labels: Tensor
    rows: Tensor | None = None


class BatchContext:
    """What an objective sees: the batches of this update, and the model through their views.

    Args:
        model: the classifier in training.
        batches: one minibatch per role, e.g. `{"retain": Batch(...)}`.
        view: draws view number v of a role's images, (B, ...) float32.
        forward: runs the model under the run's precision and counts what it costs.
        generator: a generator for a purpose, the same whenever this update is run.
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
        generator: Callable[[str], torch.Generator] | None = None,
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
        self._outputs: dict[tuple[str, int, int], Outputs] = {}
        self._generator = generator

    def labels(self, role: str) -> Tensor:
        """Labels (B,) int64 of *role*."""
        return self.batches[role].labels

    def inputs(self, role: str, view: int = 0) -> Tensor:
        """View number *view* of the images of *role*, (B, ...) float32."""
        key = (role, view)
        if key not in self._inputs:
            self._inputs[key] = self._view(role, view, self.batches[role].images)
        return self._inputs[key]

    def rows(self, role: str) -> Tensor:
        """Positions (B,) of this batch in `task.rows(role)`, on the CPU."""
        rows = self.batches[role].rows
        assert rows is not None, "the engine fills this in"
        return rows

    def generator(self, purpose: str) -> torch.Generator:
        """A CPU generator for what a term draws itself, the same whenever this update is run."""
        assert self._generator is not None, "the engine fills this in"
        return self._generator(purpose)

    def outputs(
        self, role: str, view: int = 0, *, grad: bool = True, model: nn.Module | None = None
    ) -> Outputs:
        """Logits (B, K) and features (B, D) of that view, float32, in training mode.

        With `grad=False` a view not forwarded before is forwarded without a graph. Another
        *model* (a teacher, in its own mode) is forwarded without one always.
        """
        key = (role, view, id(model))
        if key not in self._outputs:
            with torch.set_grad_enabled(grad and model is None):
                self._outputs[key] = self.forward(self.inputs(role, view), model)
        return self._outputs[key]

    def forward(self, inputs: Tensor, model: nn.Module | None = None) -> Outputs:
        """*inputs* (B, ...) through *model*, a `Classifier`; the one in training by default."""
        return self._forward(self.model if model is None else model, inputs)
