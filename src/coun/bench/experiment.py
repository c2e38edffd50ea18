"""Experiments: frozen, named by the hash of all that their result depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from typing import Any

from coun.bench.beds import Material
from coun.bench.protocols import Attack

FORMAT = 2  # of the store; another number never meets old results
AGAIN = 1000  # a floor Retrain is the same Retrain with this added to its seed


@dataclass(frozen=True)
class World:
    """Data, model and arithmetic that experiments have in common.

    *train* is what the user sets of the recipe, *recipe* all of it; *threads* changes bits.
    """

    name: str
    material: Material
    fingerprint: str
    views: str
    model: str
    train: dict[str, Any]
    recipe: dict[str, Any]
    device: str
    precision: str
    threads: int
    compile: bool = False
    ranks: int = 1  # data-parallel processes that share each batch

    def content(self) -> dict[str, Any]:
        """What results depend on. The data enters by its fingerprint, not by its place."""
        return {
            "fingerprint": self.fingerprint or self.material.source,
            "views": self.views,
            "model": self.model,
            "recipe": self.recipe,
            "compute": [
                *(self.device, self.precision, self.threads, self.compile),
                *([self.ranks] if self.ranks > 1 else []),
            ],
        }


class Experiment:
    """Something to be computed once: `content` says what, `needs` what has to be there first."""

    world: World
    kind: str

    @property
    def needs(self) -> tuple[Experiment, ...]:
        raise NotImplementedError

    def content(self) -> dict[str, Any]:
        """Everything the result depends on, JSON-able; other experiments by their key."""
        raise NotImplementedError

    @property
    def title(self) -> str:
        raise NotImplementedError

    @cached_property
    def key(self) -> str:
        """The experiment's name in a store: 24 hexadecimal digits."""
        what = {"kind": self.kind, "format": FORMAT, "version": version("coun"), **self.content()}
        text = json.dumps(what, sort_keys=True, default=_plain)
        return hashlib.sha256(text.encode()).hexdigest()[:24]


@dataclass(frozen=True)
class Cut:
    """A forget request as drawn for one seed.

    Args:
        request: the scenario's own words, `kind` among them.
        draw: the protocol's rule for random rows.
        seed: of the draw; None where nothing is drawn.
        scores: of rows, for requests that go by them.
    """

    request: dict[str, Any]
    draw: str = "torch"
    seed: int | None = None
    scores: Experiment | None = None

    def content(self) -> dict[str, Any]:
        return {
            "request": self.request,
            "draw": self.draw,
            "seed": self.seed,
            "scores": self.scores.key if self.scores else None,
        }

    @property
    def needs(self) -> tuple[Experiment, ...]:
        return (self.scores,) if self.scores else ()


@dataclass(frozen=True)
class Train(Experiment):
    """An Original (no *cut*), or a Retrain on what the cut retains."""

    world: World
    seed: int
    cut: Cut | None = None
    kind = "train"

    @property
    def needs(self) -> tuple[Experiment, ...]:
        return self.cut.needs if self.cut else ()

    def content(self) -> dict[str, Any]:
        cut = self.cut.content() if self.cut else None
        return {"world": self.world.content(), "seed": self.seed, "cut": cut}

    @property
    def title(self) -> str:
        if self.cut is None:
            return f"{self.world.name}: Original, seed {self.seed}"
        return f"{self.world.name}: Retrain, {describe(self.cut)}, seed {self.seed}"


@dataclass(frozen=True)
class Unlearn(Experiment):
    """One method on one model.

    Args:
        start: an Original, or what an earlier stage left.
        cut: all that must be forgotten by now; *before*, what was already.
        settings, contrast: as the user gives them; *resolved*, with every default.
    """

    world: World
    start: Train | Unlearn
    cut: Cut
    method: str
    settings: dict[str, Any]
    contrast: dict[str, Any] | None
    resolved: dict[str, Any]
    seed: int
    before: Cut | None = None
    kind = "unlearn"

    @property
    def needs(self) -> tuple[Experiment, ...]:
        return (self.start, *self.cut.needs)

    def content(self) -> dict[str, Any]:
        return {
            "start": self.start.key,
            "cut": self.cut.content(),
            "before": self.before.content() if self.before else None,
            "method": self.method,
            "settings": self.resolved,
            "seed": self.seed,
        }

    @property
    def title(self) -> str:
        name = self.method + ("+module" if self.contrast is not None else "")
        return f"{self.world.name}: {name}, {describe(self.cut)}, seed {self.seed}"


@dataclass(frozen=True)
class Evaluate(Experiment):
    """A model measured on the rows of a request."""

    world: World
    subject: Train | Unlearn
    cut: Cut
    mia: Attack
    kind = "evaluate"

    @property
    def needs(self) -> tuple[Experiment, ...]:
        return (self.subject, *self.cut.needs)

    def content(self) -> dict[str, Any]:
        return {"subject": self.subject.key, "cut": self.cut.content(), "mia": self.mia}

    @property
    def title(self) -> str:
        return f"measure {self.subject.title}"


@dataclass(frozen=True)
class Score(Experiment):
    """A number per training row: how much models memorise it, or how it pulls the Original."""

    world: World
    measure: str
    models: tuple[Train, ...]
    kind = "score"

    @property
    def needs(self) -> tuple[Experiment, ...]:
        return self.models

    def content(self) -> dict[str, Any]:
        return {"measure": self.measure, "models": [model.key for model in self.models]}

    @property
    def title(self) -> str:
        return f"{self.world.name}: {self.measure} of every row"


def closure(wanted: Iterable[Experiment]) -> list[Experiment]:
    """*wanted* and all they need, each once, needs first."""
    found: dict[str, Experiment] = {}

    def visit(one: Experiment) -> None:
        if one.key not in found:
            for need in one.needs:
                visit(need)
            found[one.key] = one

    for one in wanted:
        visit(one)
    return list(found.values())


def describe(cut: Cut) -> str:
    """A request in a few words."""
    request = dict(cut.request)
    kind = request.pop("kind")
    if kind in ("class", "subclass"):
        return f"{kind} {request['name']}"
    level = f" {request['level']}" if "level" in request else ""
    return f"{kind}{level} {request['fraction']:.0%}"


def _plain(value: Any) -> Any:
    if isinstance(value, Iterable | Iterator):
        return list(value)
    raise TypeError(f"{type(value).__name__} in an experiment; expected plain values")
