"""CoUn's contrastive module on any method that trains on retain data."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError
from torch import nn

from coun.data import Views
from coun.engine import Stage, Task, with_term
from coun.errors import CounError, nearest, unknown
from coun.objectives import labels_of_second_view
from coun.objectives.contrastive.registry import LOSSES, ContrastiveLoss
from coun.plans.method import Method


@dataclass(frozen=True)
class Contrasted(Method):
    """*method* with *weight* times *loss* added to every pass that draws retain data.

    Only retain rows enter the loss, also where a pass draws forget rows beside them.
    *letters* are the transforms of the second view alone; None means the data's own.
    *second_view_labels* is the weight of that view's own cross entropy, in the same passes.
    """

    method: Method
    loss: ContrastiveLoss
    weight: float = 1.0
    letters: str | None = None
    second_view_labels: float = 0.0

    def __post_init__(self) -> None:
        self.__dict__["name"] = f"{self.method.name}+{self.loss.name}"
        for key in ("source", "reads", "trains", "needs_original"):
            self.__dict__[key] = getattr(self.method, key)

    def with_defaults_from(self, original: Mapping[str, Any]) -> Contrasted:
        return replace(self, method=self.method.with_defaults_from(original))

    def settings(self) -> dict[str, Any]:
        module = {
            "loss": self.loss.name,
            "weight": self.weight,
            "views": self.letters,
            "second_view_labels": self.second_view_labels,
        }
        return {**self.method.settings(), "contrast": {**module, **asdict(self.loss)}}

    def plan(self, model: nn.Module, task: Task) -> Iterator[Stage]:
        stages = self.method.plan(model, task)
        if self.weight == 0 == self.second_view_labels:  # exactly the method itself
            yield from stages
            return
        views = None
        if self.letters is not None:
            if not isinstance(task.data.views, Views):
                raise CounError("contrast views are letters, but this data brings a transform")
            views = {1: replace(task.data.views, letters=self.letters)}
        generator = task.seeds.torch("contrast", self.loss.name)
        state = self.loss.state(task.teacher, generator)
        term = self.weight * self.loss.objective(state)
        term += labels_of_second_view(self.second_view_labels, self.loss.second_view_gradient)
        yield from with_term(stages, term, views, state)


def contrast(
    method: Method,
    loss: str = "info_nce",
    weight: float = 1.0,
    views: str | None = None,
    second_view_labels: float = 0.0,
    **settings: Any,
) -> Contrasted:
    """*method* with CoUn's contrastive module, e.g. `contrast(make("not"), temperature=0.1)`.

    Args:
        loss: a name of `LOSSES`; *settings* are its own.
        weight: lambda, on the loss; 0 gives the method itself, bit for bit.
        views: letters of the second view's transform, e.g. "CHJN"; None is the data's own.
        second_view_labels: weight of the second view's own cross entropy. The paper has none;
            for methods that learn the retain labels; it takes no further forward.

    Raises: CounError for a method that never trains on retain data, an unknown loss or
        setting, or a value out of range.

    Source: CoUn (Khalil et al., NeurIPS 2025), section 4.3: its module on NegGrad+, l1-sparse
        and NoT; on FT it is CoUn itself.
    """
    kind = LOSSES.get(loss)
    if kind is None:
        raise unknown("contrastive loss", loss, LOSSES)
    reason = _refusal(method)
    if reason:
        raise CounError(f"{method.name} takes no contrastive module: {reason}")
    weight = _amount("weight", weight)
    labels = _amount("second_view_labels", second_view_labels)
    known = [name for name in kind.__dataclass_fields__]
    for key in settings:
        if key not in known:
            raise CounError(
                f"unknown setting '{key}' of {loss}{nearest(key, known)}; known: {', '.join(known)}"
            )
    try:
        module = TypeAdapter(kind).validate_python(settings)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        expected = first["msg"].replace("Input should be ", "")
        raise CounError(
            f"setting {where} of {loss} is {first['input']!r}; expected {expected}"
        ) from error
    if views is not None:
        Views(letters=views)  # refuses unknown letters now rather than at the first batch
    labels_of_second_view(labels, module.second_view_gradient)  # refuses what does not fit
    return Contrasted(method, module, weight, views, labels)


def _amount(what: str, value: Any) -> float:
    try:
        amount = float(value)
    except (TypeError, ValueError):
        amount = -1.0
    if not 0 <= amount < math.inf:
        raise CounError(f"the contrastive {what} is {value}; expected a number, 0 or more")
    return amount


def _refusal(method: Method) -> str:
    """Why *method* cannot take the module; empty if it can."""
    if isinstance(method, Contrasted) or method.name == "coun":
        return "it has one already"
    if not method.trains:
        return "it edits weights and does not train"
    if "retain" not in method.reads:
        return "it never draws retain data, the only data the module may see"
    if method.exact:
        return "it is exact, and the module would make it something else"
    return ""
