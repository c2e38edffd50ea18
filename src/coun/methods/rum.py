"""RUM: refine the forget set into parts, then unlearn each by its own method."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Self

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from coun.engine import Stage, Task, for_subset, predict
from coun.errors import CounError
from coun.methods import make
from coun.methods.no_t import Names
from coun.metrics import margins
from coun.plans.method import FROZEN, Method, Positive


@dataclass(frozen=True, config=FROZEN)
class RUM(Method):
    """Split the forget set by how memorised it is; unlearn each part in its own way (RUM).

    Parts of equal size, from least to most memorised, are unlearned one after the other. The
    proxy of memorisation is the original's doubt about a row's label, ranked by log-odds,
    because confidences round to 1. No forget row, of whichever part, is retain data for any
    part. With one part this is that part's method, to the bit.

    Source: Zhao et al., NeurIPS 2024, and the confidence proxy of Zhao and Triantafillou, 2024
        (there followed through training; here the trained model's). They choose methods by
        data set. The default: Retrain still knows the easy rows, so fine-tuning is enough; it
        errs on the memorised ones, so random labels do the least harm there.
    """

    name: ClassVar[str] = "rum"
    source: ClassVar[str] = "Zhao et al., NeurIPS 2024"
    reads: ClassVar[frozenset[str]] = frozenset({"retain", "forget"})
    steps: ClassVar[tuple[Method | None, ...]] = ()  # what `with_defaults_from` made of *methods*

    methods: Names = Field(
        ("finetune", "neggrad_plus", "salun"),
        description="a method for each part, least memorised first; nothing: leave it be",
    )
    epochs: Positive | None = Field(None, description="of each part; open: its method's own")
    batch_size: Positive | None = Field(None, description="of each part; open: its method's own")
    lr: float | None = Field(None, gt=0, description="of each part; open: its method's own")

    def with_defaults_from(self, original: Mapping[str, Any]) -> Self:
        done = replace(self)
        done.__dict__["steps"] = tuple(self._step(name, original) for name in self.methods)
        return done

    def _step(self, name: str, original: Mapping[str, Any]) -> Method | None:
        if name == "nothing":
            return None
        method = make(name)
        if method.exact or method.needs_original or isinstance(method, RUM):
            raise CounError(
                f"rum cannot use {name} for a part; expected a method that goes on from the "
                "weights it finds and needs nothing but them"
            )
        given = {k: getattr(self, k) for k in ("epochs", "batch_size", "lr") if hasattr(method, k)}
        return make(name, {k: v for k, v in given.items() if v is not None}).with_defaults_from(
            original
        )

    def settings(self) -> dict[str, Any]:
        parts = [step and {"name": step.name, **step.settings()} for step in self.steps]
        return {**super().settings(), "parts": parts}

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        rows, easiest_first = task.rows("forget"), memorisation(task).argsort(stable=True)
        parts = easiest_first.tensor_split(len(self.steps))
        for number, (method, part) in enumerate(zip(self.steps, parts, strict=True), 1):
            if method is None or len(part) == 0:
                continue
            inner = task.with_rows(forget=rows[part.sort().values])
            inner.reads = method.reads
            if number > 1:
                inner.seeds = task.seeds.fork("part", number)
            yield from for_subset(method.plan(model, inner), inner, task, f"part {number}")


def memorisation(task: Task) -> Tensor:
    """How memorised each forget row is, (n,): minus the log-odds of its label's probability."""
    source = task.source("forget")
    task.charge(len(source), grad=False)
    logits = predict(task.classifier, task.data, source).logits
    return torch.from_numpy(-margins(logits, source.labels.cpu()))
