"""Experiments: frozen specifications, named by the hash of everything a result depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from coun import __version__
from coun.bench.spec.code import code_of, code_of_metrics, code_of_model
from coun.bench.spec.forget import hashed_record, label, score_name
from coun.bench.spec.method_config import PreparationConfig
from coun.bench.spec.protocols import Attack
from coun.bench.spec.workload import DataSpec
from coun.data.requests import Request
from coun.engine.device import MemoryFormat
from coun.federated import Federation
from coun.methods import find
from coun.objectives.contrastive.registry import find_loss

FORMAT = 2  # of the store; results written with another number are never reused
KEPT = 10  # epochs of an Original that are kept for the method rewind
FLOOR_SEED_OFFSET = 1000  # the second Retrain has the seed of the first one plus this


@dataclass(frozen=True)
class ExperimentSetting:
    """Data, model and arithmetic that experiments have in common.

    Args:
        name: of the workload.
        train: settings of the training recipe that the config sets.
        recipe: all settings of the recipe, with their defaults.
        threads: CPU threads; their number changes the last bits of a result.
        processes: data-parallel processes that share each batch.
        federation: the clients that hold the rows; None where all rows are in one place.
    """

    name: str
    data: DataSpec
    fingerprint: str
    views: str
    model: str
    train: dict[str, Any]
    recipe: dict[str, Any]
    device: str
    precision: str
    threads: int
    compile: bool = False
    processes: int = 1
    federation: Federation | None = None
    memory_format: MemoryFormat = "channels_last"

    def content(self) -> dict[str, Any]:
        """Return what results depend on; the data counts by its fingerprint, not its place."""
        return {
            "fingerprint": self.fingerprint or self.data.source,
            "views": self.views,
            "model": self.model,
            "recipe": self.recipe,
            "compute": [
                *(self.device, self.precision, self.threads, self.compile),
                *([self.processes] if self.processes > 1 else []),
                *([self.memory_format] if self.memory_format != "channels_last" else []),
            ],
            **code_of_model(self.model),
            **({"federation": self.federation.model_dump()} if self.federation else {}),
        }


class Experiment:
    """A computation that is done once: `content` defines it, `needs` must be done before it.

    The keys of `content` ("world", "cut" and others) are those of version 0.1, so that the
    hash of an experiment, and with it every old store, stays valid.
    """

    setting: ExperimentSetting
    kind: str

    @property
    def needs(self) -> tuple[Experiment, ...]:
        """The experiments whose results this one reads."""
        raise NotImplementedError

    def content(self) -> dict[str, Any]:
        """Return all that the result depends on, as JSON; other experiments by their key."""
        raise NotImplementedError

    @property
    def title(self) -> str:
        """What messages call the experiment."""
        raise NotImplementedError

    @cached_property
    def key(self) -> str:
        """The experiment's name in a store: 24 hexadecimal digits."""
        content = self.content()
        hashed = {"kind": self.kind, "format": FORMAT, "version": __version__, **content}
        text = json.dumps(hashed, sort_keys=True, default=_to_plain)
        return hashlib.sha256(text.encode()).hexdigest()[:24]


@dataclass(frozen=True)
class ForgetSpec:
    """A forget request as it is drawn for one seed.

    Args:
        seed: of the draw; None for requests that draw nothing.
        scores: the experiment that scores the rows, for requests that choose rows by a score.
    """

    request: Request
    seed: int | None = None
    scores: Score | None = None

    def content(self) -> dict[str, Any]:
        """Return all that the chosen rows depend on."""
        record, draw = hashed_record(self.request)
        return {
            "request": record,
            "draw": draw,
            "seed": self.seed,
            "scores": self.scores.key if self.scores else None,
            **code_of(type(self.request)),
        }

    @property
    def needs(self) -> tuple[Experiment, ...]:
        """The experiments that must be done before rows can be chosen."""
        return (self.scores,) if self.scores else ()


@dataclass(frozen=True)
class Train(Experiment):
    """An Original (without *forget*), or a Retrain on the rows that *forget* retains."""

    setting: ExperimentSetting
    seed: int
    forget: ForgetSpec | None = None
    kind = "train"

    @property
    def needs(self) -> tuple[Experiment, ...]:
        return self.forget.needs if self.forget else ()

    def content(self) -> dict[str, Any]:
        forget = self.forget.content() if self.forget else None
        return {"world": self.setting.content(), "seed": self.seed, "cut": forget}

    @property
    def title(self) -> str:
        if self.forget is None:
            return f"{self.setting.name}: Original, seed {self.seed}"
        return f"{self.setting.name}: Retrain, {label(self.forget.request)}, seed {self.seed}"


@dataclass(frozen=True)
class Unlearn(Experiment):
    """One method applied to one model.

    Args:
        start: an Original, or the model of an earlier stage.
        forget: all rows that must be forgotten by now.
        settings, contrast: as the config sets them.
        resolved: all settings, with their defaults.
        earlier: the rows that earlier stages have already forgotten.
        retain_access: the share of the retain rows that the method may read; None for all.
        preparation: how the model is prepared for the method; None where it needs no preparation.
    """

    setting: ExperimentSetting
    start: Train | Unlearn
    forget: ForgetSpec
    method: str
    settings: dict[str, Any]
    contrast: dict[str, Any] | None
    resolved: dict[str, Any]
    seed: int
    earlier: ForgetSpec | None = None
    retain_access: float | None = None
    preparation: PreparationConfig | None = None
    kind = "unlearn"

    @property
    def needs(self) -> tuple[Experiment, ...]:
        return (self.start, *self.forget.needs)

    def content(self) -> dict[str, Any]:
        return {
            "start": self.start.key,
            "cut": self.forget.content(),
            "before": self.earlier.content() if self.earlier else None,
            "method": self.method,
            "settings": self.resolved,
            "seed": self.seed,
            **({"preparation": [how.folds, how.repeats]} if (how := self.preparation) else {}),
            **({} if self.retain_access is None else {"retain_access": self.retain_access}),
            **code_of(find(self.method, trust=True), *self._loss),
        }

    @property
    def _loss(self) -> tuple[type, ...]:
        """The class of the contrastive loss."""
        name = (self.contrast or {}).get("loss")
        return () if name is None else (find_loss(name, trust=True),)

    @property
    def title(self) -> str:
        name = self.method + ("+module" if self.contrast is not None else "")
        return f"{self.setting.name}: {name}, {label(self.forget.request)}, seed {self.seed}"


@dataclass(frozen=True)
class Evaluate(Experiment):
    """A model measured on the rows of a request.

    Args:
        mia: the attack of the protocol.
        unread: whether only the half of the test rows is measured that no method reads.
    """

    setting: ExperimentSetting
    subject: Train | Unlearn
    forget: ForgetSpec
    mia: Attack
    unread: bool = False
    kind = "evaluate"

    @property
    def needs(self) -> tuple[Experiment, ...]:
        return (self.subject, *self.forget.needs)

    def content(self) -> dict[str, Any]:
        return {
            "subject": self.subject.key,
            "cut": self.forget.content(),
            "mia": self.mia,
            **({"unread": True} if self.unread else {}),
        }

    @property
    def title(self) -> str:
        request, subject = label(self.forget.request), self.subject.title
        return f"measure {subject}" + f", {request}" * (request not in subject)


@dataclass(frozen=True)
class Compare(Experiment):
    """Further registered metrics of a model, computed beside the Retrain of the same seed.

    They are apart from `Evaluate`, so that asking for one more metric repeats nothing else.
    *unread* is as there; *original* is given where a metric needs the model before unlearning.
    """

    setting: ExperimentSetting
    subject: Train | Unlearn
    retrain: Train
    forget: ForgetSpec
    metrics: tuple[str, ...]
    unread: bool = False
    original: Train | None = None
    kind = "compare"

    @property
    def needs(self) -> tuple[Experiment, ...]:
        original = () if self.original is None else (self.original,)
        return (self.subject, self.retrain, *original, *self.forget.needs)

    def content(self) -> dict[str, Any]:
        return {
            "subject": self.subject.key,
            "retrain": self.retrain.key,
            "cut": self.forget.content(),
            "metrics": self.metrics,
            **({"unread": True} if self.unread else {}),
            **({"original": self.original.key} if self.original else {}),
            **code_of_metrics(self.metrics),
        }

    @property
    def title(self) -> str:
        return f"compare {self.subject.title} with Retrain"


@dataclass(frozen=True)
class Ensemble(Experiment):
    """Metrics that compare the models of all seeds with all Retrains of the same request."""

    setting: ExperimentSetting
    subjects: tuple[Train | Unlearn, ...]
    retrains: tuple[Train, ...]
    originals: tuple[Train, ...]
    forget: ForgetSpec
    metrics: tuple[str, ...]
    kind = "ensemble"

    @property
    def needs(self) -> tuple[Experiment, ...]:
        return (*self.subjects, *self.retrains, *self.originals, *self.forget.needs)

    def content(self) -> dict[str, Any]:
        groups = (self.subjects, self.retrains, self.originals)
        return {
            "models": [[model.key for model in group] for group in groups],
            "cut": self.forget.content(),
            "metrics": self.metrics,
            **code_of_metrics(self.metrics),
        }

    @property
    def title(self) -> str:
        return f"compare {self.subjects[0].title} and {len(self.subjects) - 1} more with Retrains"


@dataclass(frozen=True)
class Semantics(Experiment):
    """Where a model puts the forget rows of the class *of*, among the predictions and centroids."""

    setting: ExperimentSetting
    subject: Train | Unlearn
    forget: ForgetSpec
    of: str
    kind = "semantics"

    @property
    def needs(self) -> tuple[Experiment, ...]:
        return (self.subject, *self.forget.needs)

    def content(self) -> dict[str, Any]:
        return {"subject": self.subject.key, "cut": self.forget.content(), "of": self.of}

    @property
    def title(self) -> str:
        return f"where {self.of} goes in {self.subject.title}"


@dataclass(frozen=True)
class Score(Experiment):
    """One number for each training row, which *request* computes from the outputs of *models*."""

    setting: ExperimentSetting
    request: Request
    models: tuple[Train, ...]
    kind = "score"

    @property
    def needs(self) -> tuple[Experiment, ...]:
        return self.models

    def content(self) -> dict[str, Any]:
        return {"measure": score_name(self.request), "models": [model.key for model in self.models]}

    @property
    def title(self) -> str:
        return f"{self.setting.name}: scores of all rows for the request {label(self.request)}"


def keeping_interval(recipe: Mapping[str, Any]) -> int:
    """Return every how many epochs of the training *recipe* the weights are kept for rewind."""
    return max(1, int(recipe["epochs"]) // KEPT)


def closure(experiments: Iterable[Experiment]) -> list[Experiment]:
    """List *experiments* and all that they need, each once, in an order that can be computed."""
    ordered: dict[str, Experiment] = {}

    def visit(experiment: Experiment) -> None:
        if experiment.key not in ordered:
            for need in experiment.needs:
                visit(need)
            ordered[experiment.key] = experiment

    for experiment in experiments:
        visit(experiment)
    return list(ordered.values())


def _to_plain(value: Any) -> Any:
    if isinstance(value, Iterable | Iterator):
        return list(value)
    raise TypeError(f"{type(value).__name__} in an experiment; expected plain JSON values")
