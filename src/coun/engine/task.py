"""What a plan may know: the rows it declared it reads, a fresh model, and its own randomness."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from coun.data import Data, Examples, Split, TensorExamples
from coun.engine.cost import Cost
from coun.errors import CounError
from coun.models import Classifier
from coun.seeds import Seeds

GIB = 2**30


@dataclass(eq=False)
class Task:
    """A request, ready for a method: data by role, seeds, and the model's maker.

    Args:
        data: training and test sets; a plan never gets the test set.
        split: forget and retain rows; None trains on everything, as role "retain".
        seeds: the run's random streams.
        reads: the roles the method declared; any other is refused.
        classifier: the model in training, wrapped.
        build: makes the model afresh (for Retrain), None where only weights were given.
        device: where minibatches go.
        flops: of one forward of one image.
        original: "settings" and "seed" of the Original's training; empty for bare weights.
        cost: what was spent so far; the engine adds to it, and plans that compute do (`charge`).
    """

    data: Data
    split: Split | None
    seeds: Seeds
    reads: frozenset[str]
    classifier: Classifier
    build: Callable[[], nn.Module] | None
    device: torch.device
    flops: float = 0.0
    original: Mapping[str, Any] = field(default_factory=dict)
    cost: Cost = field(default_factory=Cost)
    _rows: dict[str, Tensor] = field(default_factory=dict)
    _sources: dict[str, Examples] = field(default_factory=dict)

    def rows(self, role: str) -> Tensor:
        """Positions in `data.train` of the rows of *role*, in file order."""
        if role in self._rows:
            return self._rows[role]
        if role not in self.reads:
            allowed = ", ".join(sorted(self.reads)) or "no data"
            raise CounError(f"the method reads {role} data but declares that it reads {allowed}")
        if self.split is None:
            if role != "retain":
                raise CounError(f"no {role} data: this run has no forget request")
            return torch.arange(len(self.data.train))
        return self.split.rows(self.data, role)

    def define(self, role: str, rows: Tensor) -> str:
        """Name a part of the data that the method reads: *rows* in `data.train`, any order.

        Raises: CounError if a row belongs to no role that the method declared.
        """
        allowed = torch.cat([self.rows(known) for known in sorted(self.reads)])
        if not bool(torch.isin(rows, allowed).all()):
            raise CounError(f"role {role} holds rows that the method does not declare to read")
        self._rows[role] = rows
        self._sources.pop(role, None)
        return role

    def with_rows(self, **rows: Tensor) -> Task:
        """The same task, with only these *rows* in the roles named: `with_rows(forget=rows)`.

        To plan with; `for_subset` fits the stages of such a plan to the engine. Costs are charged.
        """
        return replace(self, _rows={**self._rows, **rows}, _sources={})

    def teacher(self, model: nn.Module | None = None) -> Classifier:
        """A frozen copy, in eval mode, of the model as it is now, or of *model* (from `fresh`)."""
        copied = copy.deepcopy(self.classifier)
        if model is not None:
            copied.inner.load_state_dict(model.state_dict())
        return copied.requires_grad_(False).eval()

    def charge(self, images: int, *, grad: bool) -> None:
        """Count one forward of *images*, and its backward if it has one."""
        self.cost.count(images, self.flops, grad=grad)

    def source(self, role: str) -> Examples:
        """The examples of *role*; resident on the device where they fit."""
        if role not in self._sources:
            examples = self.data.train.take(self.rows(role))
            if isinstance(examples, TensorExamples) and self.device.type == "cuda":
                free, _ = torch.cuda.mem_get_info(self.device)
                if examples.images.nbytes < free - 8 * GIB:
                    examples = examples.to(self.device)
            self._sources[role] = examples
        return self._sources[role]

    def fresh(self, *purpose: str | int) -> nn.Module:
        """A newly initialised model of the same architecture, reproducible per *purpose*.

        A new object, so nested blocks cannot keep old weights (a bug of public retrain code
        that calls `reset_parameters` on top-level children only).
        """
        if self.build is None:
            raise CounError(
                "a fresh model is needed but only weights were given; pass the model's factory "
                "(build=...), or its name"
            )
        with self.seeds.as_global("init", *purpose):
            return self.build()
