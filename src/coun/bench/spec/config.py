"""The schema of a bench config: workloads, scenarios, methods, seeds, protocol and search."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SerializeAsAny, model_validator

from coun.bench.spec.forget import label
from coun.bench.spec.protocols import PROTOCOLS
from coun.data import requests
from coun.engine.device import MemoryFormat, Precision
from coun.errors import CounError, nearest, unknown
from coun.federated import Federated, Federation
from coun.methods import Method, federated, find, make
from coun.methods import contrast as add_contrast
from coun.metrics import GAP_METRICS, catalogue

Text = Annotated[str, Field(min_length=1)]
Share = Annotated[float, Field(gt=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0)]
ACCESS = "retain_access"  # a key of a method that is not one of its settings, and can vary
# Any kind of forget request that coun or a plug-in registers.
Scenario = Annotated[
    SerializeAsAny[requests.Request],
    BeforeValidator(lambda given: requests.parse(given) if isinstance(given, Mapping) else given),
]


class StrictModel(BaseModel):
    """A table of the config that refuses unknown keys and suggests the nearest known one."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _check_keys(cls, given: Any) -> Any:
        for key in given if isinstance(given, Mapping) else ():
            if key not in cls.model_fields:
                keys = ", ".join(sorted(cls.model_fields))
                raise ValueError(
                    f"unknown key '{key}'{nearest(key, cls.model_fields)}; known: {keys}"
                )
        return given


class ExpectedData(StrictModel):
    """The sizes that a data set must have.

    With them a bench can be planned on a machine that does not hold the data. *data_set* is a
    name of `coun.data.public.SETS`, which tells the names of the classes.
    """

    data_set: str | None = None
    classes: Annotated[int, Field(ge=2)]
    shape: tuple[Count, ...]
    train: Count
    test: Count


class DataConfig(StrictModel):
    """Which data a workload uses, and how much of it.

    `{root}` in *source* is replaced by the first folder of the config's `data_root` that
    exists. *size* scales images to that many pixels on each side, after all random changes.
    *options* are further arguments of `coun.load` for this kind of source, by their names in
    Python. *groups* merges classes into named superclasses; a subclass request then names one of
    the original classes.
    """

    source: Text
    limit: Count | None = None
    test_limit: Count | None = None
    image_column: str | None = None
    label_column: str | None = None
    views: str | None = None
    size: Count | None = None
    options: dict[str, str | int | float | bool] = {}
    groups: dict[str, tuple[str, ...]] = {}
    expect: ExpectedData | None = None

    @model_validator(mode="after")
    def _check_options(self) -> DataConfig:
        if twice := sorted(
            {"limit", "test_limit", "image_column", "label_column"} & {*self.options}
        ):
            raise ValueError(f"options has '{twice[0]}', which is a key beside it; move it there")
        return self


class Workload(StrictModel):
    """One data set with one model, on which the methods are compared.

    *train* holds settings of the training recipe, used for the Original and for Retrain.
    *paper* says which rows of the published tables this workload is compared with.
    *federation* divides the rows among clients, and every model is trained by FedAvg.
    """

    name: Text
    data: DataConfig
    model: Text
    train: dict[str, Any] = {}
    paper: dict[Literal["dataset", "model"], str] = {}
    federation: Federation | None = None


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


class ComputeConfig(StrictModel):
    """Where and how experiments compute.

    *threads* is the number of CPU threads of each experiment, whatever the number of workers.
    """

    device: str = "auto"
    precision: Precision = "auto"
    threads: Count = 1
    checkpoint_every: Annotated[float, Field(ge=0)] = 60.0
    compile: bool = False
    memory_format: MemoryFormat = "channels_last"


class TuneConfig(StrictModel):
    """A search with the same budget for every method that has search ranges.

    The first trial takes the settings of the config; the others draw from the ranges. Trials
    run on development *seeds* with their own Original and Retrain. They never see the test
    rows: a *holdout* share of the training rows replaces them.

    Args:
        seed: seed of the draws.
        oracle: how many runners-up are also run on the reported seeds.
        frozen: the settings in the config are already the result of the search; only
            `coun bench tune` repeats it.
    """

    trials: Count = 10
    sampler: Literal["random", "tpe"] = "random"
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (1_000_000,)
    holdout: Share = 0.1
    seed: Seed = 0
    oracle: Annotated[int, Field(ge=0)] = 0
    frozen: bool = False


class SemanticsConfig(StrictModel):
    """Where the forget rows of one class go: the tables of which classes they are predicted as.

    Args:
        of: the class, by name or label; those of its rows that are forgotten are followed.
        classes: the classes in the columns; by default the four that Retrain predicts most often.
    """

    of: Text
    classes: tuple[Text, ...] = ()


class MapsConfig(StrictModel):
    """Maps of the features of models, one picture for each table, of the first seed.

    Args:
        rows: the rows of the table that are drawn; by default the first Original, Retrain and all
            methods.
        of: the class of the forget rows that are drawn; by default all.
        retain, forget: at most so many rows of each kind; 0 retain rows draws forget rows only.
        projection: t-SNE, or principal components.
    """

    rows: tuple[Text, ...] = ()
    of: Text | None = None
    retain: Annotated[int, Field(ge=0)] = 400
    forget: Count = 300
    projection: Literal["tsne", "pca"] = "tsne"


class Config(StrictModel):
    """A whole bench, as its TOML file describes it. Read one with `load`.

    Args:
        seeds: seeds whose results are reported.
        request_seed: draws the rows of every request, so that all seeds forget the same rows. By
            default each seed draws its own. Metrics that compare many runs of one request need it.
        floor: the seeds for which Retrain is trained a second time; by default all of them.
        metrics: registered metrics, each a column of the tables. The gap averages those of them
            that are in `GAP_METRICS`.
        data_root: folders where data may be; the first one that exists replaces `{root}`.
        switches: single settings that differ from those of *protocol*.
        semantics: further tables of where the rows of one class go.
        maps: pictures of features.

    >>> from coun.bench import load
    >>> load("demo").seeds
    (0, 1, 2)
    """

    title: Text
    note: str = ""
    protocol: str = "coun"
    switches: dict[str, Any] = {}
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)]
    request_seed: Seed | None = None
    floor: tuple[Seed, ...] | None = None
    metrics: Annotated[tuple[str, ...], Field(min_length=1)] = GAP_METRICS
    data_root: tuple[str, ...] = ("data", "../shared/data")
    compute: ComputeConfig = ComputeConfig()
    workload: Annotated[tuple[Workload, ...], Field(min_length=1)]
    scenario: Annotated[tuple[Scenario, ...], Field(min_length=1)]
    method: tuple[MethodConfig, ...] = ()
    tune: TuneConfig | None = None
    semantics: SemanticsConfig | None = None
    maps: MapsConfig | None = None

    @model_validator(mode="after")
    def _check_consistency(self) -> Config:
        workloads = [workload.name for workload in self.workload]
        _check_unique("seed", self.seeds)
        _check_unique("workload", workloads)
        _check_unique("scenario", [label(scenario) for scenario in self.scenario])
        _check_unique("method", [method.title for method in self.method])
        for seed in self.floor or ():
            if seed not in self.seeds:
                raise ValueError(f"floor seed {seed} is not one of the seeds {list(self.seeds)}")
        _check_metrics(self.metrics, self.request_seed)
        if self.request_seed is not None and self.seeds[1:]:
            for scenario in self.scenario:
                if scenario.needs_original:
                    raise ValueError(
                        f"request_seed: {label(scenario)} looks at the Original of each seed, so "
                        "its rows differ between seeds; leave request_seed out"
                    )
        if self.protocol not in PROTOCOLS:
            raise unknown("protocol", self.protocol, PROTOCOLS)
        PROTOCOLS[self.protocol].with_switches(self.switches)
        if self.tune and (shared := sorted(set(self.tune.seeds) & set(self.seeds))):
            raise ValueError(f"tune uses the reported seeds {shared}; expected other seeds")
        for method in self.method:
            _check_method(method, workloads)
        for workload in self.workload:
            _check_federation(workload, self.scenario, self.method)
        return self


def _check_metrics(metrics: Sequence[str], request_seed: int | None) -> None:
    """Refuse metrics that are not registered, or that a bench cannot compute."""
    for name in metrics:
        if name not in catalogue():
            raise unknown("metric", name, catalogue())
        if catalogue()[name].compares_runs and request_seed is None:
            raise ValueError(
                f"metric {name} compares many runs of one request; set request_seed, so that all "
                "seeds forget the same rows, or remove it from metrics"
            )
    if not set(metrics) & set(GAP_METRICS):
        raise ValueError(
            f"metrics needs at least one of {', '.join(GAP_METRICS)}, from which the gap is made"
        )


def _check_method(method: MethodConfig, workloads: Sequence[str]) -> None:
    """Refuse a method whose settings, workloads or variants cannot work."""
    if method.name == "retrain":
        raise ValueError("retrain is part of every bench; leave it out of the methods")
    for name in method.on:
        if name not in workloads:
            raise unknown("workload", name, workloads)
    for key, values in {**method.vary, **method.search}.items():
        if values == ():
            raise ValueError(f"{key} of {method.title} has an empty list; expected some values")
        if not isinstance(values, SearchRange):
            _check_unique(f"{key} of {method.title}", values)
    for share in (method.retain_access, *method.vary.get(ACCESS, ())):
        if share is not None and not (isinstance(share, int | float) and 0 < share <= 1):
            raise ValueError(f"{ACCESS} of {method.title} is {share!r}; expected 0 < share <= 1")
    if method.preparation and not method.preparation_of_original:
        raise ValueError(f"{method.title} reads no out-of-fold predictions; remove preparation")
    for workload in workloads:
        for chosen in (*method.variants(), *_ends(method.search)):
            method.build(workload, chosen)
    module = [key for key in (*method.vary, *method.search) if key.startswith("contrast.")]
    if module and method.contrast is None:
        raise ValueError(
            f"method {method.title} sets {module[0]} but does not use the module; "
            "add contrast = {} to it"
        )


def _check_federation(
    workload: Workload, scenarios: Sequence[requests.Request], methods: Sequence[MethodConfig]
) -> None:
    """Refuse requests and methods that do not fit the federation of a workload, or its lack."""
    kinds = {scenario.kind for scenario in scenarios}
    if workload.federation is None:
        if "client" in kinds:
            raise CounError(
                f"workload {workload.name} has no clients, but a scenario names one; add "
                "federation = {} to it"
            )
        for method in methods:
            if method.name in federated():
                raise CounError(
                    f"{method.name} works in a federation only, and workload {workload.name} has "
                    "none; add federation = {} to it"
                )
        return
    if "sequential" in kinds:
        raise CounError("a sequential request cannot be run in a federation; name other rows")
    for scenario in scenarios:
        client = getattr(scenario, "client", 0)
        if client >= workload.federation.clients:
            raise CounError(
                f"a scenario names client {client}, but workload {workload.name} has "
                f"{workload.federation.clients}, counted from 0"
            )
    for method in methods:
        for chosen in method.variants():
            Federated(method.build(workload.name, chosen), workload.federation)


def _ends(search: Mapping[str, SearchRange | tuple[Any, ...]]) -> list[dict[str, Any]]:
    """Every value of a list, and both ends of a range, each as the choice of one setting."""
    return [
        {key: value}
        for key, item in search.items()
        for value in ((item.low, item.high) if isinstance(item, SearchRange) else item)
    ]


def _check_unique(what: str, names: Sequence[Any]) -> None:
    for name in names:
        if list(names).count(name) > 1:
            raise ValueError(f"{what} '{name}' appears twice; expected each {what} once")
