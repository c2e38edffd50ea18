"""The data of a workload under a protocol, and what a plan needs to know about it."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from coun.bench.spec.config import ROOT, Config, DataConfig, Workload
from coun.bench.spec.protocols import PROTOCOLS, Protocol
from coun.data import Data, Split, TensorExamples, Views, load
from coun.data.public import public_set
from coun.data.requests import Client, Request
from coun.data.sources import code_of_source
from coun.data.subsets import stratified
from coun.engine import Compute, forward_flops
from coun.errors import CounError, unknown
from coun.models import Classifier, build

PIXEL_ROWS = 10_000  # rows from which mean and standard deviation of the pixels are computed
HELD_OUT_SEED = 20  # rows are set aside with this seed, independent of every other draw


class MissingDataError(CounError):
    """The data of a workload does not exist on this machine, or cannot be read."""


@dataclass(frozen=True)
class DataSpec:
    """Everything that is needed to load a workload's data.

    It is hashable, and small enough to be sent to a worker.

    Args:
        config: the `DataConfig`, as JSON.
        source: the source, with `{root}` replaced.
        validation, normalise, augment: switches of the protocol.
        holdout: share of the training rows that replaces the test set while tuning.
    """

    config: str
    source: str
    validation: float
    normalise: str
    augment: bool
    holdout: float = 0.0

    def load(self) -> Data:
        """Load the data; a process loads it only once."""
        return _load(self)

    @property
    def options(self) -> DataConfig:
        """The table of the config that this specification comes from."""
        return DataConfig.model_validate_json(self.config)


@dataclass(frozen=True)
class WorkloadInfo:
    """What a plan needs to know about the data and the model of a workload.

    Args:
        shape: of one image, (C, H, W) or (F,).
        train, test: numbers of rows.
        fingerprint: of the data; empty where the data is missing and `expect` replaced it.
        flops: floating-point operations of a forward pass of one image.
        weight_bytes: size of the model.
        device, precision: what "auto" in the config stands for on this machine.
    """

    classes: tuple[str, ...]
    shape: tuple[int, ...]
    train: int
    test: int
    fingerprint: str
    views: str
    flops: float
    weight_bytes: int
    device: str
    precision: str


def protocol_of(config: Config) -> Protocol:
    """Return the protocol of a bench with its switches applied."""
    return PROTOCOLS[config.protocol].with_switches(config.switches)


def data_spec(config: Config, workload: Workload, *, holdout: float = 0.0) -> DataSpec:
    """Describe the data of *workload* under the protocol of the bench."""
    protocol = protocol_of(config)
    data = _placed(config, workload.data)
    return DataSpec(
        data.model_dump_json(),
        data.source,
        protocol.validation,
        protocol.normalise,
        protocol.augment,
        holdout,
    )


def _placed(config: Config, data: DataConfig) -> DataConfig:
    """*data* with `{root}` replaced, or the official files of its set, where only they exist."""
    roots = config.data_root
    # A folder that does not exist must not be taken for a name on the Hub of Hugging Face.
    missing = os.path.abspath((*roots, ".")[0])
    root = next((root for root in roots if Path(root).is_dir()), missing)
    source = data.source.replace("{root}", root)
    if data.expect and data.expect.data_set and "{root}" in data.source:
        kind, _, folder = public_set(data.expect.data_set).spelling.partition(":")
        official = Path(root) / folder
        if official.is_dir() and not Path(source.partition(":")[2]).exists():
            columns = {"image_column": None, "label_column": None}
            return data.model_copy(update={"source": f"{kind}:{official}", **columns})
    return data.model_copy(update={"source": source})


@lru_cache(maxsize=4)
def _load(spec: DataSpec) -> Data:
    options = spec.options
    of_source: dict[str, Any] = dict(options.options)
    try:
        data = load(
            spec.source,
            limit=options.limit,
            test_limit=options.test_limit,
            image_column=options.image_column,
            label_column=options.label_column,
            **of_source,
        )
    except CounError as error:
        place = spec.source.partition(":")[2]
        if code_of_source(spec.source) is not None or Path(place or ".").exists():
            raise MissingDataError(str(error)) from error
        advice = f"; name the folder that holds the data with --data-root DIR or {ROOT}=DIR"
        advice += " (coun data where tells where to get it)" if options.expect else ""
        raise MissingDataError(f"{error}{advice}") from error
    if options.groups:
        data = _merge_classes(data, options.groups)
    _check_sizes(options, spec.source, data)
    if spec.validation:
        data, _ = _set_aside(data, spec.validation)
    if spec.holdout:
        data, held_out = _set_aside(data, spec.holdout)
        data = replace(data, test=held_out.train)
    if options.views is not None or spec.normalise == "data" or not spec.augment:
        data = _with_views(data, options.views, spec.normalise, spec.augment)
    if options.size is not None:
        if not isinstance(data.views, Views):
            raise CounError("size scales images, but this data has views of its own; leave it out")
        data = replace(data, views=replace(data.views, size=(options.size, options.size)))
    return data


def _set_aside(data: Data, share: float) -> tuple[Data, Data]:
    """Split off a stratified *share* of the training rows: (the others, the share)."""
    count = max(1, round(share * len(data.train)))
    held_out = stratified(data.train.labels, count, HELD_OUT_SEED)
    others = torch.ones(len(data.train), dtype=torch.bool)
    others[held_out] = False
    parts = (others.nonzero().flatten(), held_out)
    first, second = (replace(data, train=data.train.take(rows), source="") for rows in parts)
    return first, second


def _merge_classes(data: Data, groups: dict[str, tuple[str, ...]]) -> Data:
    """Replace every label by the number of its superclass."""
    superclass = {name: number for number, names in enumerate(groups.values()) for name in names}
    for name in superclass:
        if name not in data.classes:
            raise unknown("class in groups", name, data.classes)
    for name in data.classes:
        if name not in superclass:
            raise CounError(f"class '{name}' is in none of the groups; add it to one of them")
    table = torch.tensor([superclass[name] for name in data.classes])

    def relabel(part: object) -> TensorExamples:
        if not isinstance(part, TensorExamples):
            raise CounError("groups need data that fits in memory, but this source is streamed")
        return replace(part, labels=table[part.labels])

    train, test = relabel(data.train), relabel(data.test)
    classes = tuple(groups)
    # A subclass request names one of the classes that were merged.
    return replace(data, train=train, test=test, classes=classes, source="", finer=lambda: data)


def _with_views(data: Data, letters: str | None, normalise: str, augment: bool) -> Data:
    if not isinstance(data.views, Views):
        raise CounError(
            "the config changes the views, but this data has a transform of its own; leave out "
            "views, and use normalise = 'coun' and augment = true"
        )
    views = data.views if letters is None else replace(data.views, letters=letters)
    if not augment:
        views = replace(views, letters="N" if "N" in views.letters else "")
    if normalise == "data" and "N" in views.letters and data.dtype == torch.uint8:
        pixels = data.train.fetch(torch.arange(min(len(data.train), PIXEL_ROWS))).double() / 255
        over = (0, *range(2, pixels.ndim))
        mean, std = pixels.mean(over), pixels.std(over)
        views = replace(
            views,
            mean=tuple(round(float(x), 4) for x in mean),
            std=tuple(round(float(x), 4) for x in std),
        )
    return replace(data, views=views)


def _check_sizes(options: DataConfig, source: str, data: Data) -> None:
    """Refuse data whose sizes differ from what the config expects."""
    if options.expect is None:
        return
    actual = {
        "classes": len(data.classes),
        "shape": data.shape,
        "train": len(data.train),
        "test": len(data.test),
    }
    for name, value in actual.items():
        expected = getattr(options.expect, name)
        if value != expected:
            raise CounError(f"{source} has {name} = {value}; the config expects {expected}")


def workload_info(
    config: Config, workload: Workload, *, holdout: float = 0.0, allow_missing_data: bool = False
) -> WorkloadInfo:
    """Measure the data and the model of *workload*.

    Args: allow_missing_data: use the config's `expect` where the data cannot be loaded.

    Raises: CounError if the data cannot be loaded, unless `expect` may replace it.
    """
    spec, expect = data_spec(config, workload, holdout=holdout), workload.data.expect
    try:
        data = spec.load()
    except MissingDataError:
        if not allow_missing_data or expect is None:
            raise
        classes = _expected_classes(workload.data)
        shape, fingerprint, views = expect.shape, "", ""
        whole = expect.train - round(protocol_of(config).validation * expect.train)
        held_out = round(holdout * whole)
        train, test = whole - held_out, held_out or expect.test
    else:
        classes, shape = data.classes, data.shape
        train, test = len(data.train), len(data.test)
        fingerprint, views = data.fingerprint, repr(data.views)
    size = workload.data.size
    input_shape = shape if size is None else (*shape[:-2], size, size)
    flops, weight_bytes = _model_size(workload.model, len(classes), input_shape)
    compute = Compute.choose(config.compute.device, config.compute.precision, flops=flops)
    return WorkloadInfo(
        classes,
        shape,
        train,
        test,
        fingerprint,
        views,
        flops,
        weight_bytes,
        compute.device.type,
        compute.precision,
    )


def _expected_classes(data: DataConfig) -> tuple[str, ...]:
    """Names of the classes of data that is missing; numbers where nothing tells the names."""
    assert data.expect is not None
    if data.groups:
        return tuple(data.groups)
    names = public_set(data.expect.data_set).names if data.expect.data_set else ()
    return names or tuple(map(str, range(data.expect.classes)))


def check_request(config: Config, workload: Workload, request: Request) -> None:
    """Refuse a request that does not fit the data, as far as that shows before anything runs.

    Where the data is missing, only names of classes are checked, if `expect` tells them.

    Raises: CounError if *request* names no class or no row.
    """
    try:
        data = data_spec(config, workload).load()
    except MissingDataError:
        expect = workload.data.expect
        names = public_set(expect.data_set).names if expect and expect.data_set else ()
        merged = workload.data.groups and request.kind == "class"
        names = tuple(workload.data.groups) if merged else names
        name = getattr(request, "name", None)
        if names and isinstance(name, str) and not name.isdecimal() and name not in names:
            raise unknown(request.kind, name, names) from None
        return
    for stage in request.in_stages():
        # Which rows models would choose is not known yet, but how many are.
        scores = np.zeros(len(data.train)) if stage.needs_scores else None
        Split.of(data, in_federation(workload, stage), scores=scores).check(data)


def in_federation(workload: Workload, request: Request) -> Request:
    """Return *request*, which names clients of the workload's federation if it names any."""
    if not isinstance(request, Client) or workload.federation is None:
        return request
    partition = request.partition or workload.federation.partition
    return request.model_copy(update={"partition": partition})


@lru_cache(maxsize=2)
def new_classifier(name: str, classes: int, shape: tuple[int, ...]) -> Classifier:
    """Build the model of a workload, to look at its architecture."""
    model = build(name, classes=classes, shape=shape, trust=True)  # `parse` asked for trust
    return Classifier(model, example=torch.zeros(2, *shape))


@lru_cache(maxsize=32)
def _model_size(name: str, classes: int, shape: tuple[int, ...]) -> tuple[float, int]:
    """Operations of a model's forward pass of one image, and bytes of its weights."""
    classifier = new_classifier(name, classes, shape)
    flops = forward_flops(classifier, torch.zeros(1, *shape))
    weights = [*classifier.inner.parameters(), *classifier.inner.buffers()]
    return flops, sum(t.numel() * t.element_size() for t in weights)
