"""The table of metrics: one entry for each number that coun reports about a model."""

from __future__ import annotations

import importlib
import json
import logging
import math
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, NamedTuple

from coun.errors import CounError, one_line, unknown
from coun.plugins import load_plugins
from coun.trust import Trust, import_extension, is_code

# Packages whose modules are searched for metrics.
PACKAGES = ("coun.metrics", "coun.attacks", "coun.analysis")
# Inputs that are there only where the user names the metric.
ON_REQUEST = frozenset({"on_request", "model", "original.model", "split"})
GROUP = "coun.metrics"  # the entry points of other packages

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Metric:
    """One number about a model: what it is called, how it is computed, and what it should be.

    A metric is added by one module in `coun/metrics/` that holds a `Metric`, or by an entry
    point in the group `coun.metrics` of another package. `coun.evaluate`, tables and reports
    then show it; nothing else is edited. `evaluate` and benches also take one by its name in a
    file of the user, `./file.py:NAME`.

    Args:
        name: the key in `metrics.json`.
        label: the head of its column in tables, such as "RA".
        unit: "%", "points", "nats" or "" for a number without a unit.
        function: computes the value, a float, from the inputs in *needs*, in their order.
        needs: the inputs. `PART.logits` (N, K), `PART.features` (N, D) and `PART.labels` (N,)
            of the parts "retain", "forget" and "test" (without classes that were forgotten
            whole), "forgotten_test" (test rows of those classes), and "members" and "others"
            (equally many retain and test rows, for attacks); `start.test.logits` and
            `start.test.labels`, of the model before unlearning; `cost`, the cost in the run's
            record; `metrics.NAME`, the value of another metric;
            `runs.PART.logits` (M, N, K) where the same request was run M times, and
            `original.runs.PART.logits` of M Originals. With "retrain." in front, each of these is
            that of the Retrain. A metric is left out where an input is missing. Four inputs are
            there only where the user names the metric, so that it is not computed otherwise:
            `on_request` (True), `model` (the `Run`), `original.model`, and `split`.
        title: the name in full, such as "Retain accuracy"; by default the label.
        direction: "nearer" where the value of Retrain is the aim, else "lower" or "higher".
        column: the place among the columns of a table, smallest first; None for a metric
            that is written to `metrics.json` only.
        digits: decimals in tables.

    >>> from coun.metrics import accuracy
    >>> Metric("test_error", "error", "%", lambda x, y: 100 - accuracy(x, y),
    ...        needs=("test.logits", "test.labels")).title
    'error'
    """

    name: str
    label: str
    unit: str
    function: Callable[..., Any]
    needs: tuple[str, ...]
    title: str = ""
    direction: Literal["nearer", "lower", "higher"] = "nearer"
    column: int | None = 80
    digits: int = 2

    @property
    def compares_runs(self) -> bool:
        """Whether the metric compares many runs of one request."""
        return any(".runs." in f".{need}" for need in self.needs)

    def __post_init__(self) -> None:
        object.__setattr__(self, "title", self.title or self.label)

    @classmethod
    def of_values(cls, function: Callable[..., Any], names: Sequence[str], **fields: Any) -> Metric:
        """Make a metric of two mappings, the values of *names* of a model and of its Retrain."""

        def compare(*values: Any) -> Any:
            model, retrain = values[: len(names)], values[len(names) :]
            pairs = (dict(zip(names, side, strict=True)) for side in (model, retrain))
            return function(*pairs)

        of_model = [f"metrics.{name}" for name in names]
        return cls(
            function=compare, needs=(*of_model, *(f"retrain.{n}" for n in of_model)), **fields
        )


def _plain(value: Any) -> Any:
    """*value* as a JSON document holds it, with numbers of torch and NumPy as Python's.

    Raises: TypeError or ValueError for a value that it cannot hold, such as NaN.
    """
    value = value.tolist() if hasattr(value, "tolist") else value
    json.dumps(value, allow_nan=False)
    return value


class _Registered(NamedTuple):
    metrics: dict[str, Metric]  # in the order of tables
    plugins: frozenset[str]
    refused: dict[str, str]  # plug-ins that were left out, and why


@cache
def _registered() -> _Registered:
    """Find coun's own metrics and those of plug-ins."""
    metrics: dict[str, Metric] = {}
    for package in map(importlib.import_module, PACKAGES):
        for module in pkgutil.iter_modules(package.__path__):
            values = vars(importlib.import_module(f"{package.__name__}.{module.name}")).values()
            metrics |= {value.name: value for value in values if isinstance(value, Metric)}
    loaded, refused = load_plugins(GROUP, metrics)
    plugins = {name: value for name, value in loaded.items() if isinstance(value, Metric)}
    for name in loaded.keys() - plugins.keys():
        kind = type(loaded[name]).__name__
        refused[name] = f"plug-in '{name}' is a {kind}; expected a coun.metrics.Metric"

    def place(metric: Metric) -> tuple[float, str]:
        return math.inf if metric.column is None else metric.column, metric.name

    ordered = sorted((metrics | plugins).values(), key=place)
    return _Registered({m.name: m for m in ordered}, frozenset(plugins), refused)


def _is_built_in(name: str) -> bool:
    """Whether coun itself has the metric, so that an error in it is an error of coun."""
    return name in catalogue() and name not in _registered().plugins


def catalogue() -> dict[str, Metric]:
    """List every metric by name, in the order of the columns of tables.

    >>> list(catalogue())[:3]
    ['retain_accuracy', 'unlearn_accuracy', 'test_accuracy']
    """
    return _registered().metrics


def find(name: str, *, trust: Trust) -> Metric:
    """Return the metric called *name*.

    Args:
        name: a name in `catalogue()`, or `package.module:NAME` or `./file.py:NAME`, a `Metric`.
        trust: whether such code may be imported: True for a name that the user gave.

    Raises: CounError for an unknown metric, or one that is not trusted, is not a `Metric`, or has
        the name of another one.

    >>> find("retain_accuracy", trust=False).label
    'RA'
    """
    if name in catalogue():
        return catalogue()[name]
    if name in _registered().refused:
        raise CounError(_registered().refused[name])
    if not is_code(name):
        raise unknown("metric", name, catalogue())
    metric: Metric = import_extension(
        name,
        "metric",
        "a coun.metrics.Metric",
        fits=lambda value: isinstance(value, Metric),
        catalogue=catalogue(),
        trust=trust,
    )
    return metric


def columns() -> dict[str, Metric]:
    """List the metrics that tables show, by name, in the order of their columns.

    >>> [metric.label for metric in columns().values()][:4]
    ['RA', 'UA', 'TA', 'MIA']
    """
    return {name: m for name, m in catalogue().items() if m.column is not None}


def with_further(further: Iterable[Metric] = ()) -> dict[str, Metric]:
    """List the metrics that are computed always, and *further* ones, by name.

    >>> "kl_to_retrain" in with_further(), "retain_accuracy" in with_further()
    (False, True)
    """
    usual = {name: m for name, m in catalogue().items() if not ON_REQUEST.intersection(m.needs)}
    return usual | {metric.name: metric for metric in further}


def with_named(names: Iterable[str]) -> dict[str, Metric]:
    """List all metrics, and those of a user's file by the *names* that import them.

    Whoever reads *names* from a file asks whether it is trusted.
    """
    return catalogue() | {name: find(name, trust=True) for name in names}


def any_needs(kind: str, metrics: Mapping[str, Metric] | None = None) -> bool:
    """Tell whether one of *metrics* needs the "logits", "features" or "labels" of any part.

    Args: metrics: by default those that are computed always.

    >>> any_needs("logits"), any_needs("features")
    (True, False)
    """
    needs = (need for m in (metrics or with_further()).values() for need in m.needs)
    return any(need.endswith(f".{kind}") for need in needs)


class Measurements(Mapping[str, Any]):
    """The metrics of one model, by name; each is computed when it is first read.

    Only metrics whose inputs are all present are listed.

    Args:
        inputs: what `Metric.needs` names, of this model.
        retrain: the measurements of a Retrain of the same request.
        metrics: the metrics by the names under which they are read; by default, `catalogue()`.

    >>> import torch
    >>> inputs = {"test.logits": torch.eye(2), "test.labels": torch.tensor([0, 0])}
    >>> measured = Measurements(inputs)
    >>> measured["test_accuracy"], "unlearn_accuracy" in measured
    (50.0, False)
    """

    def __init__(
        self,
        inputs: Mapping[str, Any],
        *,
        retrain: Measurements | None = None,
        metrics: Mapping[str, Metric] | None = None,
    ) -> None:
        self.inputs, self.retrain = inputs, retrain
        self.metrics = catalogue() if metrics is None else metrics
        self._values: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self:
            raise KeyError(name)
        if name not in self._values:
            metric = self.metrics[name]
            value = metric.function(*map(self._input, metric.needs))
            self._values[name] = value if _is_built_in(name) else _plain(value)
        return self._values[name]

    def __contains__(self, name: object) -> bool:
        return name in self.metrics and all(map(self.has_input, self.metrics[str(name)].needs))

    def __iter__(self) -> Iterator[str]:
        return (name for name in self.metrics if name in self)

    def against(self, retrain: Measurements) -> Measurements:
        """Return the same metrics and those that compare them with *retrain*.

        Values that were computed already are kept. These measurements must have no Retrain yet.
        """
        assert self.retrain is None
        pair = Measurements(self.inputs, retrain=retrain, metrics=self.metrics)
        pair._values = self._values.copy()
        return pair

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def value_or_none(self, name: str) -> Any:
        """Compute one metric; None where an input is missing or the metric of a plug-in fails."""
        return self._value_or_reason(name)[0] if name in self else None

    def values_by_name(self) -> tuple[dict[str, Any], dict[str, str]]:
        """Compute every metric whose inputs are present.

        Returns: the values, and, by name, why the metric of a plug-in was left out: a plug-in
            that fails does not stop the others.
        """
        values, left_out = {}, dict(_registered().refused)
        for name in self:
            values[name], reason = self._value_or_reason(name)
            if reason:
                left_out[name] = reason
                del values[name]
        return values, left_out

    def values_or_none(self, names: Iterable[str]) -> dict[str, Any]:
        """Compute the metrics called *names*; None where an input is missing.

        A metric of a plug-in that fails is None as well, and the reason is logged.
        """
        values = {}
        for name in names:
            values[name], reason = self._value_or_reason(name) if name in self else (None, "")
            if reason:
                _log.warning("metric %s is left out: %s", name, reason)
        return values

    def _value_or_reason(self, name: str) -> tuple[Any, str]:
        """The value of a metric and "", or None and why the metric of a plug-in failed."""
        try:
            return self[name], ""
        except Exception as error:
            if _is_built_in(name):
                raise
            return None, one_line(error)

    def has_input(self, need: str) -> bool:
        """Tell whether what `Metric.needs` calls *need* is present."""
        first, _, rest = need.partition(".")
        if first == "retrain":
            return self.retrain is not None and self.retrain.has_input(rest)
        return rest in self if first == "metrics" else need in self.inputs

    def _input(self, need: str) -> Any:
        first, _, rest = need.partition(".")
        if first == "retrain":
            assert self.retrain is not None
            return self.retrain._input(rest)
        return self[rest] if first == "metrics" else self.inputs[need]
