"""The minibatches of one step; each view of a role is drawn and forwarded at most once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from coun.models import Outputs


@dataclass(frozen=True, eq=False)
class Batch:
    """A minibatch of one role.

    Args:
        images: (B, ...), as the data holds them.
        labels: (B,) int64.
        slots: (B,) int64 on the CPU, positions in the list of rows of the role.
    """

    images: Tensor
    labels: Tensor
    slots: Tensor | None = None


class BatchContext:
    """What an objective sees of one step: its batches, and the model's outputs for their views.

    Terms share forward passes: CoUn's cross entropy and its contrastive term both use view 0.

    Args:
        model: the classifier in training.
        batches: one minibatch per role, for example `{"retain": Batch(...)}`.
        view: draws view number v of the images of a role, (B, ...) float32.
        forward: runs a model with the run's precision and counts what this costs.
        generator: makes a random generator for a purpose, the same whenever this step is run.
        gather: joins the rows of a tensor over data-parallel processes, with gradient.
        progress: the fraction of the stage that is done, 0..1, for scheduled weights.

    >>> from coun.models import Outputs
    >>> batch = Batch(torch.ones(4, 3), torch.zeros(4, dtype=torch.int64))
    >>> context = BatchContext(
    ...     torch.nn.Linear(3, 2),
    ...     {"retain": batch},
    ...     view=lambda role, number, images: images,
    ...     forward=lambda model, x: Outputs(model(x), x),
    ... )
    >>> context.outputs("retain").logits.shape
    torch.Size([4, 2])
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
        """Return the labels (B,) int64 of *role*."""
        return self.batches[role].labels

    def inputs(self, role: str, view: int = 0) -> Tensor:
        """Return view number *view* of the images of *role*, (B, ...) float32."""
        key = (role, view)
        if key not in self._inputs:
            self._inputs[key] = self._view(role, view, self.batches[role].images)
        return self._inputs[key]

    def slots(self, role: str) -> Tensor:
        """Return the positions (B,) of this batch in `task.indices(role)`, on the CPU."""
        slots = self.batches[role].slots
        assert slots is not None, "the engine fills this in"
        return slots

    def generator(self, purpose: str) -> torch.Generator:
        """Return a CPU generator for what a term draws, the same whenever this step is run."""
        assert self._generator is not None, "the engine fills this in"
        return self._generator(purpose)

    def outputs(
        self, role: str, view: int = 0, *, grad: bool = True, model: nn.Module | None = None
    ) -> Outputs:
        """Return the logits (B, K) and features (B, D) of a view, float32, in training mode.

        Args:
            role: whose batch.
            view: number of the view.
            grad: if false, a view that was not forwarded before is forwarded without a graph.
            model: another model, for example a teacher, which is always forwarded without a
                graph and in its own mode.
        """
        key = (role, view, id(model))
        if key not in self._outputs:
            with torch.set_grad_enabled(grad and model is None):
                self._outputs[key] = self.forward(self.inputs(role, view), model)
        return self._outputs[key]

    def forward(self, inputs: Tensor, model: nn.Module | None = None) -> Outputs:
        """Run *inputs* (B, ...) through *model*, by default the classifier in training."""
        return self._forward(self.model if model is None else model, inputs)
