"""The data of a bed as a protocol wants it, and what can be known of it beforehand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import torch

from coun.bench.config import Bed, Config, DataConfig
from coun.bench.protocols import PROTOCOLS, Protocol
from coun.data import Data, TensorExamples, Views, load
from coun.data.examples import stratified
from coun.engine import Compute, forward_flops
from coun.errors import CounError, unknown
from coun.models import Classifier, build

PIXEL_ROWS = 10_000  # rows that mean and std of the pixels are taken from
HELD = 20  # seed of the rows set aside, whatever else is drawn


class Absent(CounError):
    """The data of a bed is not at hand, or cannot be read."""


@dataclass(frozen=True)
class Material:
    """What it takes to load a bed's data: hashable, and small enough to send to a worker.

    *holdout* is the share of training rows that stands in for the test set while tuning.
    """

    config: str  # of the data, JSON
    source: str
    validation: float  # this and the next two: switches of the protocol
    normalise: str
    augment: bool
    holdout: float = 0.0

    def load(self) -> Data:
        """The data; loaded once in a process."""
        return _load(self)


@dataclass(frozen=True)
class Facts:
    """What a plan needs of data and model: sizes, arithmetic, precision.

    *fingerprint* is empty where the data is not at hand and `expect` spoke for it.
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
    """The bench's protocol with its switches."""
    return PROTOCOLS[config.protocol].with_switches(config.switches)


def material(config: Config, bed: Bed, *, holdout: float = 0.0) -> Material:
    """The data of *bed* under the bench's protocol."""
    protocol = protocol_of(config)
    roots = [root for root in config.data_root if Path(root).is_dir()]
    root = (roots or list(config.data_root) or ["."])[0]
    source = bed.data.source.replace("{root}", root)
    return Material(
        bed.data.model_dump_json(),
        source,
        protocol.validation,
        protocol.normalise,
        protocol.augment,
        holdout,
    )


@lru_cache(maxsize=4)
def _load(what: Material) -> Data:
    config = DataConfig.model_validate_json(what.config)
    try:
        data = load(
            what.source,
            limit=config.limit,
            test_limit=config.test_limit,
            image_column=config.image_column,
            label_column=config.label_column,
        )
    except CounError as error:
        raise Absent(str(error)) from error
    if config.groups:
        data = _grouped(data, config.groups)
    _check(config, what, data)
    if what.validation:
        data, _ = _set_aside(data, what.validation)
    if what.holdout:
        kept, held = _set_aside(data, what.holdout)
        data = replace(kept, test=held.train)
    if config.views is not None or what.normalise == "data" or not what.augment:
        data = _with_views(data, config.views, what.normalise, what.augment)
    return data


def _set_aside(data: Data, share: float) -> tuple[Data, Data]:
    """*data* without a stratified *share* of its training rows, and with those alone."""
    count = max(1, round(share * len(data.train)))
    held = stratified(data.train.labels, count, HELD)
    stays = torch.ones(len(data.train), dtype=torch.bool)
    stays[held] = False
    parts = (stays.nonzero().flatten(), held)
    kept, gone = (replace(data, train=data.train.take(rows), source="") for rows in parts)
    return kept, gone


def _grouped(data: Data, groups: dict[str, tuple[str, ...]]) -> Data:
    """*data* with superclasses for labels."""
    home = {fine: number for number, many in enumerate(groups.values()) for fine in many}
    for fine in home:
        if fine not in data.classes:
            raise unknown("class in groups", fine, data.classes)
    for fine in data.classes:
        if fine not in home:
            raise CounError(f"class '{fine}' is in no group; expected every class in one")
    table = torch.tensor([home[fine] for fine in data.classes])

    def relabel(part: object) -> TensorExamples:
        if not isinstance(part, TensorExamples):
            raise CounError("groups need data that fits in memory; this source streams")
        return replace(part, labels=table[part.labels])

    train, test = relabel(data.train), relabel(data.test)
    return replace(data, train=train, test=test, classes=tuple(groups), source="")


def _with_views(data: Data, letters: str | None, normalise: str, augment: bool) -> Data:
    if not isinstance(data.views, Views):
        raise CounError("views are letters, but this data brings a transform of its own")
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


def _check(config: DataConfig, what: Material, data: Data) -> None:
    expect = config.expect
    if expect is None:
        return
    found = (len(data.classes), data.shape, len(data.train), len(data.test))
    wanted = (expect.classes, expect.shape, expect.train, expect.test)
    names = ("classes", "shape", "train", "test")
    for name, have, want in zip(names, found, wanted, strict=True):
        if have != want:
            raise CounError(f"{what.source} has {name} = {have}; the config expects {want}")


def look(config: Config, bed: Bed, *, holdout: float = 0.0, dry: bool = False) -> Facts:
    """What is known of a bed. *dry*: where the data cannot be loaded, trust `expect`.

    Raises: CounError if the data cannot be loaded and *dry* or `expect` is missing.
    """
    what, expect = material(config, bed, holdout=holdout), bed.data.expect
    try:
        data = what.load()
    except Absent:
        if not dry or expect is None:
            raise
        classes: tuple[str, ...] = tuple(map(str, range(expect.classes)))
        shape, fingerprint, views = expect.shape, "", ""
        whole = expect.train - round(protocol_of(config).validation * expect.train)
        held = round(holdout * whole)
        train, test = whole - held, held or expect.test
    else:
        classes, shape = data.classes, data.shape
        train, test = len(data.train), len(data.test)
        fingerprint, views = data.fingerprint, repr(data.views)
    flops, weight_bytes = _size(bed.model, len(classes), shape)
    compute = Compute.choose(config.compute.device, config.compute.precision, macs=flops / 2)
    return Facts(
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


@lru_cache(maxsize=32)
def _size(name: str, classes: int, shape: tuple[int, ...]) -> tuple[float, int]:
    """Operations of a model's forward of one image, and bytes of its weights."""
    model, example = build(name, classes=classes, shape=shape), torch.zeros(2, *shape)
    flops = forward_flops(Classifier(model, example=example), example[:1])
    weights = [*model.parameters(), *model.buffers()]
    return flops, sum(t.numel() * t.element_size() for t in weights)
