"""The methods of a bench config, their variants and the ranges of their search."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field, model_validator

from coun.bench.spec.strict_model import Count, StrictModel, Text, check_unique
from coun.errors import unknown
from coun.methods import Method, find, make
from coun.methods import contrast as add_contrast

ACCESS = "retain_access"  # a key of a method that is not one of its settings, and can vary


class SearchRange(StrictModel):
    """Numbers between two ends, drawn evenly or, with *log*, evenly in their logarithm.

    Whole numbers are drawn where both ends are whole.
    """

    low: float | int
    high: float | int
    log: bool = False

    @model_validator(mode="after")
    def _check_order(self) -> SearchRange:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError(
                f"range from {self.low} to {self.high}; expected low < high, and low above 0 "
                "with log"
            )
        return self


class PreparationConfig(StrictModel):
    """How `coun.prepare` makes out-of-fold predictions of an Original.

    Args: folds, repeats: the rows are divided *repeats* times into *folds* parts.
    """

    folds: Annotated[int, Field(ge=2)] = 4
    repeats: Count = 2


class MethodConfig(StrictModel):
    """One method of the bench: a row of its tables, or several rows with *vary*.

    Args:
        name: a registered method.
        label: how tables call it; by default the name.
        settings: settings of the method.
        contrast: arguments of the contrastive module; None leaves the module out.
        on: settings that replace the others on single workloads, by workload name.
        vary: a list of values by setting; every combination is a row of its own.
        search: ranges or lists of values by setting, from which `[tune]` draws.
        retain_access: the share of the retain rows that the method may read; None for all.
            Retrain reads all of them in any case.
        preparation: of the Originals, for a method that needs out-of-fold predictions.

    In *on*, *vary* and *search*, `contrast.NAME` is a setting of the module. `retain_access` can
    vary as well.
    """

    name: Text
    label: str = ""
    settings: dict[str, Any] = {}
    contrast: dict[str, Any] | None = None
    on: dict[str, dict[str, Any]] = {}
    vary: dict[str, tuple[Any, ...]] = {}
    search: dict[str, SearchRange | tuple[Any, ...]] = {}
    retain_access: Annotated[float, Field(gt=0, le=1)] | None = None
    preparation: PreparationConfig | None = None

    @property
    def title(self) -> str:
        """The label, or a name made of the method and the module."""
        return self.label or self.name + ("+module" if self.contrast is not None else "")

    def variants(self) -> list[dict[str, Any]]:
        """List the combinations of *vary*; one empty combination if nothing varies."""
        return [
            dict(zip(self.vary, values, strict=True))
            for values in itertools.product(*self.vary.values())
        ]

    def arguments(
        self, workload: str, chosen: Mapping[str, Any], preset: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any] | None]:
        """Merge the settings of the method and the arguments of its module on one workload.

        Later sources replace earlier ones: *preset*, `settings`, `on`, *chosen*.
        """
        settings, module = {**(preset or {}), **self.settings}, dict(self.contrast or {})
        for key, value in {**self.on.get(workload, {}), **chosen}.items():
            prefix, _, name = key.partition(".")
            if key == ACCESS:
                continue
            if prefix == "contrast" and name:
                module[name] = value
            else:
                settings[key] = value
        return settings, module if self.contrast is not None else None

    def access(self, chosen: Mapping[str, Any]) -> float | None:
        """The share of the retain rows that the method may read; None for all of them."""
        share = chosen.get(ACCESS, self.retain_access)
        return None if share in (None, 1) else float(share)

    @property
    def preparation_of_original(self) -> PreparationConfig | None:
        """How Originals are prepared; None for a method that needs no preparation."""
        if not find(self.name, trust=True).needs_out_of_fold:  # `parse` asked for trust
            return None
        return self.preparation or PreparationConfig()

    def build(
        self, workload: str, chosen: Mapping[str, Any], preset: Mapping[str, Any] | None = None
    ) -> Method:
        """Make the method with its `arguments`. Raises: CounError for an unknown setting."""
        settings, module = self.arguments(workload, chosen, preset)
        method = make(self.name, settings, trust=True)  # `parse` asked for trust
        return add_contrast(method, **module) if module is not None else method

    def check(self, workloads: Sequence[str]) -> None:
        """Refuse a method whose settings, workloads or variants cannot work."""
        if self.name == "retrain":
            raise ValueError("retrain is part of every bench; leave it out of the methods")
        for name in self.on:
            if name not in workloads:
                raise unknown("workload", name, workloads)
        for key, values in {**self.vary, **self.search}.items():
            if values == ():
                raise ValueError(f"{key} of {self.title} has an empty list; expected some values")
            if not isinstance(values, SearchRange):
                check_unique(f"{key} of {self.title}", values)
        for share in (self.retain_access, *self.vary.get(ACCESS, ())):
            if share is not None and not (isinstance(share, int | float) and 0 < share <= 1):
                raise ValueError(f"{ACCESS} of {self.title} is {share!r}; expected 0 < share <= 1")
        if self.preparation and not self.preparation_of_original:
            raise ValueError(f"{self.title} reads no out-of-fold predictions; remove preparation")
        for workload in workloads:
            for chosen in (*self.variants(), *_ends(self.search)):
                self.build(workload, chosen)
        module = [key for key in (*self.vary, *self.search) if key.startswith("contrast.")]
        if module and self.contrast is None:
            raise ValueError(
                f"method {self.title} sets {module[0]} but does not use the module; "
                "add contrast = {} to it"
            )


def _ends(search: Mapping[str, SearchRange | tuple[Any, ...]]) -> list[dict[str, Any]]:
    """Every value of a list, and both ends of a range, each as the choice of one setting."""
    return [
        {key: value}
        for key, item in search.items()
        for value in ((item.low, item.high) if isinstance(item, SearchRange) else item)
    ]
