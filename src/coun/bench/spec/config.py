"""The schema of a bench config: workloads, scenarios, seeds, protocol and search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny, model_validator

from coun.bench.spec.forget import label
from coun.bench.spec.method_config import MethodConfig
from coun.bench.spec.protocols import PROTOCOLS
from coun.bench.spec.strict_model import Count, Seed, Share, StrictModel, Text, check_unique
from coun.data import requests
from coun.engine.device import MemoryFormat, Precision
from coun.errors import CounError, unknown
from coun.federated import Federated, Federation
from coun.methods import federated
from coun.metrics import GAP_METRICS
from coun.metrics.registry import find

ROOT = "COUN_DATA"  # the environment variable that replaces the `data_root` of a config

# Any kind of forget request that coun or a plug-in registers.
Scenario = Annotated[
    SerializeAsAny[requests.Request],
    BeforeValidator(lambda value: _scenario(value) if isinstance(value, Mapping) else value),
]


def _scenario(record: Mapping[str, Any]) -> requests.Request:
    return requests.parse(record, trust=True)  # `parse` of the config asked for trust


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
        title, note: what the report is called, and a remark under its title.
        protocol: the name of a set of switches, in which published protocols differ.
        seeds: seeds whose results are reported.
        request_seed: draws the rows of every request, so that all seeds forget the same rows. By
            default each seed draws its own. Metrics that compare many runs of one request need it.
        floor: the seeds for which Retrain is trained a second time; by default all of them.
        metrics: registered metrics, each a column of the tables. The gap averages those of them
            that are in `GAP_METRICS`.
        data_root: folders where data may be, by default `data/`; the first one that exists
            replaces `{root}`. The environment variable `COUN_DATA` replaces it.
        switches: single settings that differ from those of *protocol*.
        compute: where experiments run; it has no part in what they are.
        workload, scenario, method: every method is run on each workload for each scenario.
        tune: the search for settings; without it the methods have those of the config.
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
    data_root: tuple[str, ...] = ("data",)
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
        check_unique("seed", self.seeds)
        check_unique("workload", workloads)
        check_unique("scenario", [label(scenario) for scenario in self.scenario])
        check_unique("method", [method.title for method in self.method])
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
            method.check(workloads)
        for workload in self.workload:
            _check_federation(workload, self.scenario, self.method)
        return self

    def for_search(self, workload: Workload) -> Config:
        """The part that a search on *workload* computes: only what the gap is made from."""
        of_gap = tuple(name for name in self.metrics if name in GAP_METRICS)
        return self.model_copy(
            update={"workload": (workload,), "metrics": of_gap, "semantics": None, "maps": None}
        )


def _check_metrics(metrics: Sequence[str], request_seed: int | None) -> None:
    """Refuse metrics that are not registered, or that a bench cannot compute."""
    for name in metrics:
        metric = find(name, trust=True)  # `parse` asked for trust
        if metric.compares_runs and request_seed is None:
            raise ValueError(
                f"metric {name} compares many runs of one request; set request_seed, so that all "
                "seeds forget the same rows, or remove it from metrics"
            )
    if not set(metrics) & set(GAP_METRICS):
        raise ValueError(
            f"metrics needs at least one of {', '.join(GAP_METRICS)}, from which the gap is made"
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
