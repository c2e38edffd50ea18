"""What a bench is, as a TOML file says it: data, models, requests, methods, seeds, protocol."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from coun.bench.protocols import PROTOCOLS
from coun.engine.device import Precision
from coun.errors import nearest, unknown
from coun.methods import Method, catalogue, make
from coun.methods import contrast as add_contrast
from coun.metrics import GAP_METRICS

Text = Annotated[str, Field(min_length=1)]
Share = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]


class Strict(BaseModel):
    """A table of the file: unknown keys are refused with the nearest known one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, given: Any) -> Any:
        for key in given if isinstance(given, Mapping) else ():
            if key not in cls.model_fields:
                known = ", ".join(sorted(cls.model_fields))
                raise ValueError(
                    f"unknown key '{key}'{nearest(key, cls.model_fields)}; known: {known}"
                )
        return given


class Expect(Strict):
    """What the data must be. A plan can be made from this where the data is not at hand."""

    classes: Annotated[int, Field(ge=2)]
    shape: tuple[Count, ...]
    train: Count
    test: Count


class DataConfig(Strict):
    """Which data, and how much of it.

    `{root}` in *source* stands for the first folder of the bench's `data_root` that exists.
    *groups* merges classes into named superclasses; a subclass request names one of the old.
    """

    source: Text
    limit: Count | None = None
    test_limit: Count | None = None
    image_column: str | None = None
    label_column: str | None = None
    views: str | None = None
    groups: dict[str, tuple[str, ...]] = {}
    expect: Expect | None = None


class Bed(Strict):
    """One data set with one model: what methods are compared on.

    *train* are settings of the Original's and Retrain's recipe; *paper* says which rows of
    the published tables this bed is to be compared with.
    """

    name: Text
    data: DataConfig
    model: Text
    train: dict[str, Any] = {}
    paper: dict[Literal["dataset", "model"], str] = {}


class Random(Strict):
    """A uniform random share of the rows, drawn anew for each seed."""

    kind: Literal["random"]
    fraction: Share = 0.1


class Class(Strict):
    """Every row of one class."""

    kind: Literal["class"]
    name: Text


class Subclass(Strict):
    """Every row of one class that `groups` merged with others."""

    kind: Literal["subclass"]
    name: Text


class Sequential(Strict):
    """*stages* random requests, one after the other, each for *fraction* of all rows.

    Stage k starts from the model of stage k-1 and is measured on the union of all requests.
    """

    kind: Literal["sequential"]
    fraction: Share = 0.1
    stages: Annotated[int, Field(ge=2)] = 5

    @model_validator(mode="after")
    def _leaves_something(self) -> Sequential:
        if self.fraction * self.stages >= 1:
            raise ValueError(
                f"{self.stages} stages of {self.fraction} leave no row; expected a sum below 1"
            )
        return self


class Memorisation(Strict):
    """The rows that models memorise most or least, by *models* trainings on random halves."""

    kind: Literal["memorisation"]
    level: Literal["high", "middle", "low", "mix"] = "high"
    fraction: Share = 0.1
    models: Annotated[int, Field(ge=2)] = 8


class Worst(Strict):
    """The rows whose loss gradients pull the Original's head hardest: its self-influence."""

    kind: Literal["worst"]
    fraction: Share = 0.1


Scenario = Annotated[
    Random | Class | Subclass | Sequential | Memorisation | Worst, Field(discriminator="kind")
]


class Range(Strict):
    """Numbers between two ends, evenly or by their logarithm; whole where both ends are."""

    low: float | int
    high: float | int
    log: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> Range:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError(f"range {self.low}..{self.high}: expected low < high, above 0 for log")
        return self


class MethodConfig(Strict):
    """One row of the table.

    *settings* are the method's; *contrast*, if given, adds the module with its arguments;
    *on* overrides settings on single beds; *vary* lists values of settings, each combination
    a row of its own; *search* are the ranges that `[tune]` draws from. A setting of the
    module is called `contrast.NAME` in *on*, *vary* and *search*.
    """

    name: Text
    label: str = ""
    settings: dict[str, Any] = {}
    contrast: dict[str, Any] | None = None
    on: dict[str, dict[str, Any]] = {}
    vary: dict[str, tuple[Any, ...]] = {}
    search: dict[str, Range | tuple[Any, ...]] = {}

    @property
    def title(self) -> str:
        return self.label or self.name + ("+module" if self.contrast is not None else "")

    def variants(self) -> list[dict[str, Any]]:
        """The combinations of *vary*; one empty one if nothing varies."""
        return [
            dict(zip(self.vary, values, strict=True))
            for values in itertools.product(*self.vary.values())
        ]

    def arguments(
        self, bed: str, chosen: Mapping[str, Any], preset: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any] | None]:
        """Settings and module arguments on *bed*: over *preset* the file's, *chosen* on top."""
        settings, module = {**(preset or {}), **self.settings}, dict(self.contrast or {})
        for key, value in {**self.on.get(bed, {}), **chosen}.items():
            head, dot, rest = key.partition(".")
            if dot and head == "contrast":
                module[rest] = value
            else:
                settings[key] = value
        return settings, module if self.contrast is not None else None

    def build(
        self, bed: str, chosen: Mapping[str, Any], preset: Mapping[str, Any] | None = None
    ) -> Method:
        """The method with these `arguments`. Raises: CounError for settings it does not take."""
        settings, module = self.arguments(bed, chosen, preset)
        method = make(self.name, settings)
        return add_contrast(method, **module) if module is not None else method


class ComputeConfig(Strict):
    """Where and how; *threads* per experiment, whatever the number of workers."""

    device: str = "auto"
    precision: Precision = "auto"
    threads: Count = 1
    checkpoint_every: Annotated[float, Field(ge=0)] = 60.0
    compile: bool = False


class Tune(Strict):
    """A search with the same budget for every method that has ranges.

    The first trial takes the settings in the file, the others draw from the ranges. They run on
    development *seeds*, with their own Original and Retrain, on the training rows without a
    held-out share, which stands in for the test set. *frozen*: the settings in the file are
    what the search found, and only `coun bench tune` repeats it. *oracle*: how many runners-up
    are run on the reported seeds too.
    """

    trials: Count = 10
    sampler: Literal["random", "tpe"] = "random"
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (1_000_000,)
    holdout: Share = 0.1
    seed: Seed = 0
    oracle: Annotated[int, Field(ge=0)] = 0
    frozen: bool = False


class Config(Strict):
    """A whole bench. *floor* are the seeds that get a second Retrain; all by default."""

    title: Text
    note: str = ""
    protocol: str = "coun"
    switches: dict[str, Any] = {}
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)]
    floor: tuple[Seed, ...] | None = None
    metrics: Annotated[tuple[str, ...], Field(min_length=1)] = GAP_METRICS
    data_root: tuple[str, ...] = ("data", "../shared/data")
    compute: ComputeConfig = ComputeConfig()
    bed: Annotated[tuple[Bed, ...], Field(min_length=1)]
    scenario: Annotated[tuple[Scenario, ...], Field(min_length=1)]
    method: tuple[MethodConfig, ...] = ()
    tune: Tune | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Config:
        _distinct("seed", self.seeds)
        _distinct("bed", [bed.name for bed in self.bed])
        _distinct("method", [method.title for method in self.method])
        for seed in self.floor or ():
            if seed not in self.seeds:
                raise ValueError(f"floor seed {seed} is not one of the seeds {list(self.seeds)}")
        for metric in self.metrics:
            if metric not in GAP_METRICS:
                raise unknown("metric", metric, GAP_METRICS)
        if self.protocol not in PROTOCOLS:
            raise unknown("protocol", self.protocol, PROTOCOLS)
        PROTOCOLS[self.protocol].with_switches(self.switches)
        if self.tune and set(self.tune.seeds) & set(self.seeds):
            both = sorted(set(self.tune.seeds) & set(self.seeds))
            raise ValueError(f"tune uses the reported seeds {both}; expected other seeds")
        beds = [bed.name for bed in self.bed]
        for method in self.method:
            self._check(method, beds)
        return self

    def _check(self, method: MethodConfig, beds: list[str]) -> None:
        kind = catalogue().get(method.name)
        if kind is not None and kind.exact and method.name == "retrain":
            raise ValueError("retrain is always part of a bench; leave it out of the methods")
        for name in method.on:
            if name not in beds:
                raise unknown("bed", name, beds)
        for bed in beds:
            for chosen in method.variants():
                method.build(bed, chosen)
        module = [key for key in (*method.vary, *method.search) if key.startswith("contrast.")]
        if module and method.contrast is None:
            raise ValueError(
                f"method {method.title}: {module[0]} without the module; expected contrast = {{}}"
            )


def _distinct(what: str, names: Any) -> None:
    for name in names:
        if list(names).count(name) > 1:
            raise ValueError(f"{what} '{name}' is there twice; expected each once, tell them apart")
