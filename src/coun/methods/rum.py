"""RUM: divide the forget rows into parts, then unlearn each with its own method."""

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
    """Divide the forget rows by memorisation, and unlearn each part with its own method (RUM).

    Rows that the model has memorised and rows that it would know anyway need different
    treatment. Parts of equal size are unlearned one after the other, from the least to the
    most memorised; with one part the result is that of the part's method, to the last bit.

    Formula: memorisation is estimated by the Original's log-odds of the label of a row, because
        confidences round to 1.
    Cost: the sum of the costs of the methods of the parts, and one forward pass of the forget rows.
    Limits: the order of the parts rests on a proxy of memorisation, and the costs of several
        methods add up.
    Source: Zhao et al., NeurIPS 2024, and the confidence proxy of Zhao and Triantafillou, 2024
        (there followed through training; here of the trained model). They choose methods for each
        data set.
    Differences: no forget row, of any part, is a retain row for another part; in the authors' code
        later parts stay among the retain rows. The default methods are ours: a Retrain still
        predicts the easy rows correctly, so fine-tuning is enough; it is wrong on the memorised
        ones, so random labels do the least harm there.
    """

    name: ClassVar[str] = "rum"
    source: ClassVar[str] = "Zhao et al., NeurIPS 2024"
    reads: ClassVar[frozenset[str]] = frozenset({"retain", "forget"})
    # The methods of the parts, which `with_defaults_from` makes of the setting *methods*.
    steps: ClassVar[tuple[Method | None, ...]] = ()

    methods: Names = Field(
        ("finetune", "neggrad_plus", "salun"),
        description="Names of the methods of the parts, separated by commas, for the least "
        "memorised part first; 'nothing' leaves a part as it is.",
    )
    epochs: Positive | None = Field(
        None, description="Epochs of each part. Default: those of its method."
    )
    batch_size: Positive | None = Field(
        None, description="Batch size of each part. Default: that of its method."
    )
    lr: float | None = Field(
        None, gt=0, description="Learning rate of each part. Default: that of its method."
    )

    def with_defaults_from(self, original: Mapping[str, Any]) -> Self:
        complete = replace(self)
        # A frozen dataclass refuses assignments, so the value goes past it.
        complete.__dict__["steps"] = tuple(self._step(name, original) for name in self.methods)
        return complete

    def _step(self, name: str, original: Mapping[str, Any]) -> Method | None:
        if name == "nothing":
            return None
        method = make(name)
        more = method.needs_original or method.needs_out_of_fold or not method.reads <= self.reads
        if method.exact or more or isinstance(method, RUM):
            raise CounError(
                f"rum cannot use {name} for a part; expected a method that starts from the present "
                "weights and needs nothing else"
            )
        own_settings = {
            k: getattr(self, k) for k in ("epochs", "batch_size", "lr") if hasattr(method, k)
        }
        method = make(name, {k: v for k, v in own_settings.items() if v is not None})
        return method.with_defaults_from(original)

    def settings(self) -> dict[str, Any]:
        parts = [step and {"name": step.name, **step.settings()} for step in self.steps]
        return {**super().settings(), "parts": parts}

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        forget, easiest_first = task.indices("forget"), memorisation(task).argsort(stable=True)
        parts = easiest_first.tensor_split(len(self.steps))
        for number, (method, part) in enumerate(zip(self.steps, parts, strict=True), 1):
            if method is None or len(part) == 0:
                continue
            inner = task.with_rows(forget=forget[part.sort().values])
            inner.reads = method.reads
            if number > 1:
                inner.seeds = task.seeds.fork("part", number)
            yield from for_subset(method.plan(model, inner), inner, task, f"part {number}")


def memorisation(task: Task) -> Tensor:
    """Estimate how memorised each forget row is, (n,): minus the log-odds of its label."""
    source = task.source("forget")
    task.charge(len(source), grad=False)
    logits = predict(task.classifier, task.data, source).logits
    return torch.from_numpy(-margins(logits, source.labels.cpu()))
