"""The tiny form of a bench: the same experiments on a few random images with a small network."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from coun.bench.spec.config import Config, DataConfig, Workload
from coun.bench.spec.method_config import MethodConfig
from coun.data.requests import Request
from coun.methods import find

SEEDS = 2
ROWS = 4  # training rows of each class; FEWEST in all
FEWEST, TEST = 120, 60
OF_CLIENT = 40  # rows for each client of a federation, as a Dirichlet partition needs many
MODEL = "cnn"
TRAIN = {"epochs": 2, "batch_size": 32}
SHORT = {"epochs": 1, "unaugmented_epochs": 0}  # of methods
NOTE = (
    "This is the tiny form: the steps of the bench with a few images, a small network, one epoch "
    "of unlearning and no search of settings. It shows that every step runs. Its numbers have no "
    "meaning."
)


def tiny(config: Config) -> Config:
    """Return the tiny form of *config*, which runs in about a minute without the data.

    The rows, scenarios and outputs of the tables stay. Data of the paper is replaced by
    `rehearsal:` images of the same classes and shape; other data by its first rows. At most two
    seeds are left, and `[tune]` is left out.

    >>> from coun.bench import load
    >>> tiny(load("paper/table2")).workload[0].data.source
    'rehearsal:cifar-10,train=120,test=60'
    """
    seeds = config.seeds[:SEEDS]
    return config.model_copy(
        update={
            "title": f"{config.title} (tiny)",
            "note": f"{NOTE} {config.note}".strip(),
            "seeds": seeds,
            "floor": None if config.floor is None else tuple(set(config.floor) & set(seeds)),
            "tune": None,
            "workload": tuple(map(_workload, config.workload)),
            "scenario": tuple(map(_scenario, config.scenario)),
            "method": tuple(map(_method, config.method)),
        }
    )


def _workload(workload: Workload) -> Workload:
    expect = workload.data.expect
    clients = workload.federation.clients if workload.federation else 0
    fewest = max(FEWEST, OF_CLIENT * clients)
    if expect is None or expect.data_set is None:
        data = workload.data.model_copy(update={"limit": fewest, "test_limit": TEST})
    else:
        classes = sum(len(names) for names in workload.data.groups.values()) or expect.classes
        train = max(ROWS * classes, fewest)
        test = max(classes, TEST)
        source = f"rehearsal:{expect.data_set},train={train},test={test}"
        data = DataConfig(source=source, views=workload.data.views, groups=workload.data.groups)
    return workload.model_copy(update={"data": data, "model": MODEL, "train": TRAIN})


def _scenario(request: Request) -> Request:
    has_models = "models" in type(request).model_fields
    return request.model_copy(update={"models": 2}) if has_models else request


def _method(method: MethodConfig) -> MethodConfig:
    accepted = {field.name for field in fields(find(method.name, trust=True))}
    short = {name: value for name, value in SHORT.items() if name in accepted}
    settings: dict[str, Any] = {**method.settings, **short}
    on = {name: {**chosen, **short} for name, chosen in method.on.items()}
    return method.model_copy(update={"settings": settings, "on": on, "search": {}})
