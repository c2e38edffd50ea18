"""What a plan may use: the rows it declared, fresh models, its own randomness, and the bill."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from coun.data import Data, Examples, OutOfFold, Split, TensorExamples
from coun.engine.cost import Cost
from coun.errors import CounError
from coun.models import Classifier, copy_model
from coun.seeds import Seeds

GIB = 2**30


@dataclass(eq=False)
class Task:
    """A request, ready for a method: data by role, seeds, and the factory of the model.

    Args:
        data: training and test sets; a plan never gets the test set.
        split: forget and retain rows; None trains on all rows, as role "retain".
        seeds: the random streams of the run.
        reads: the roles that the method declared; every other role is refused.
        classifier: the model in training, wrapped.
        build: makes a fresh model (for Retrain); None where only weights were given.
        device: where minibatches go.
        flops: floating-point operations of one forward pass of one row.
        original: "settings" and "seed" of the Original's training; empty for bare weights.
        out_of_fold: predictions by models that had not seen the rows; None where nobody made them.
        held_out: rows that no model was trained on, for methods that declared to read "held_out".
        kept_epochs: what fills a module with the Original's weights after an epoch, by epoch.
        cost: what was spent so far, by the engine and by plans that compute (`charge`).
        preparation: what was spent to prepare for requests, which is kept apart.

    >>> from coun.data import load
    >>> data, net = load("digits", limit=20), nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    >>> model = Classifier(net, example=data.train.fetch(torch.arange(2)).float())
    >>> task = Task(data, None, Seeds(0), frozenset({"retain"}), model, None, torch.device("cpu"))
    >>> len(task.indices("retain"))
    20
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
    preparation: Cost = field(default_factory=Cost)
    out_of_fold: OutOfFold | None = None
    held_out: Examples | None = None
    kept_epochs: Mapping[int, Callable[[nn.Module], object]] = field(default_factory=dict)
    _indices: dict[str, Tensor] = field(default_factory=dict)
    _sources: dict[str, Examples] = field(default_factory=dict)

    def indices(self, role: str) -> Tensor:
        """Return the positions in `data.train` of the rows of *role*, in the order of the source.

        Raises: CounError if the method did not declare that it reads this role.
        """
        if role in self._indices:
            return self._indices[role]
        if role not in self.reads:
            allowed = ", ".join(sorted(self.reads)) or "no data"
            raise CounError(f"the method reads {role} rows but declares that it reads {allowed}")
        if self.split is None:
            if role != "retain":
                raise CounError(f"there are no {role} rows, because this run has no forget request")
            rows = torch.arange(len(self.data.train))
        else:
            rows = self.split.rows(self.data, role)
        self._indices[role] = rows  # every step asks for their number
        return rows

    def unseen_predictions(self, role: str) -> Tensor:
        """Return what models that had not seen the rows of *role* predict for them.

        Returns: log-probabilities (R, n, K) of R repeats, from the preparation of the model.

        Raises: CounError if the model was not prepared, or a row has no prediction.
        """
        if self.out_of_fold is None:
            raise CounError(
                "the method needs predictions by models that had not seen the rows, and this "
                "model has none; make them with coun prepare"
            )
        return self.out_of_fold.of(self.data.train.take(self.indices(role)))

    def define(self, role: str, indices: Tensor) -> str:
        """Give a name to a part of the data that the method reads, and return it.

        Args:
            role: the name, which also seeds the order of the batches.
            indices: positions in `data.train`, in any order.

        Raises: CounError if a row belongs to no role that the method declared.
        """
        roles = sorted(self.reads - {"held_out"})
        allowed = torch.cat([self.indices(role) for role in roles])
        if not bool(torch.isin(indices, allowed).all()):
            raise CounError(f"role {role} holds rows that the method does not declare to read")
        self._indices[role] = indices
        self._sources.pop(role, None)
        return role

    def with_rows(self, **indices: Tensor) -> Task:
        """Return the same task with only these rows in the named roles, to plan for a subset.

        `for_subset` adapts the stages of such a plan to the engine. Costs go on the same bills.
        """
        return replace(self, _indices={**self._indices, **indices}, _sources={})

    def teacher(self, model: nn.Module | None = None) -> Classifier:
        """Return a frozen copy, in eval mode, of the present model, or of *model* from `fresh`."""
        copied = copy_model(self.classifier)
        if model is not None:
            copied.inner.load_state_dict(model.state_dict())
        return copied.requires_grad_(False).eval()

    def bill(self, preparation: bool) -> Cost:
        """Return the cost that a stage is charged to: `preparation` or `cost`."""
        return self.preparation if preparation else self.cost

    def charge(self, images: int, *, grad: bool) -> None:
        """Add one forward pass of *images* to `cost`, and its backward pass if *grad*."""
        self.cost.count(images, self.flops, grad=grad)

    def source(self, role: str) -> Examples:
        """Return the examples of *role*, on the device if they fit there."""
        if role not in self._sources:
            examples = self.data.train.take(self.indices(role))
            if isinstance(examples, TensorExamples) and self.device.type == "cuda":
                free, _ = torch.cuda.mem_get_info(self.device)
                if examples.images.nbytes < free - 8 * GIB:  # room for training
                    examples = examples.to(self.device)
            self._sources[role] = examples
        return self._sources[role]

    def fresh(self, *purpose: str | int) -> nn.Module:
        """Make a new model of the same architecture, with initial weights drawn for *purpose*.

        It is a new object, so that nested blocks cannot keep old weights (a bug of public Retrain
        code that calls `reset_parameters` on top-level children only).

        Raises: CounError if the factory of the model is not known.
        """
        if self.build is None:
            raise CounError(
                "a fresh model is needed but only weights were given; pass the model's factory "
                "(build=...), or its name"
            )
        with self.seeds.as_global("init", *purpose):
            return self.build()
