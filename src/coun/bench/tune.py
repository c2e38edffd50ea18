"""The same search budget for every method, on seeds and rows that no reported number sees."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from coun.bench.beds import protocol_of
from coun.bench.config import Bed, Config, MethodConfig, Range, Tune
from coun.bench.experiment import Experiment
from coun.bench.plan import Plan, make_plan
from coun.bench.results import collect
from coun.bench.store import Store
from coun.errors import CounError
from coun.runs.recipes import recipe

Compute = Callable[[Iterable[Experiment]], Mapping[str, str]]


def tune(config: Config, compute: Compute, store: Store) -> dict[str, Any]:
    """Search every method that has ranges; what was tried and what was chosen.

    Each gets exactly `trials` candidates a bed: first the config's own settings, then draws by
    Optuna from a stream of its own, so that adding a method changes no other's. A candidate's
    value is its mean gap over the development seeds and the bench's requests, on training rows
    alone: a held-out share of them stands in for the test set, in accuracy and attack alike.
    Repeating it recomputes nothing.

    Returns: by bed, by method title: `chosen`, its `gap`, and `trials` from best to worst;
        what could not be measured has no gap and comes last.

    Raises: CounError if Optuna is not installed, or every candidate of a method failed.
    """
    assert config.tune
    rounds = 1 if config.tune.sampler == "random" else config.tune.trials
    searches = [
        _Search(config, config.tune, bed, method)
        for bed in config.bed
        for method in config.method
        if method.search
    ]
    for _ in range(rounds):
        plans = [search.ask(config.tune.trials // rounds) for search in searches]
        compute(one for plan in plans for one in plan.experiments)
        for search, plan in zip(searches, plans, strict=True):
            search.tell(collect(plan, store))
    found: dict[str, Any] = {}
    for search in searches:
        found.setdefault(search.bed.name, {})[search.method.title] = search.result()
    return found


class _Search:
    """One method on one bed."""

    def __init__(self, config: Config, settings: Tune, bed: Bed, method: MethodConfig) -> None:
        optuna = _optuna()
        text = f"{settings.seed} {bed.name} {method.title}"
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
        kinds = {"random": optuna.samplers.RandomSampler, "tpe": optuna.samplers.TPESampler}
        self.study = optuna.create_study(sampler=kinds[settings.sampler](seed=seed))
        self.space = {key: _distribution(optuna, one) for key, one in method.search.items()}
        self.study.enqueue_trial(_own(config, method, bed))
        self.config = config.model_copy(update={"bed": (bed,)})
        self.settings, self.bed, self.method = settings, bed, method
        self.open: dict[str, Any] = {}
        self.trials: list[dict[str, Any]] = []

    def ask(self, count: int) -> Plan:
        """The next candidates, as experiments on the development seeds."""
        plain = self.method.model_copy(update={"search": {}, "vary": {}})
        self.open, methods = {}, []
        for _ in range(count):
            trial = self.study.ask(self.space)
            name = f"{self.method.title} trial {trial.number}"
            self.open[name] = trial
            on = {self.bed.name: {**self.method.on.get(self.bed.name, {}), **trial.params}}
            methods.append(plain.model_copy(update={"label": name, "on": on}))
        return make_plan(
            self.config,
            seeds=self.settings.seeds,
            holdout=self.settings.holdout,
            methods=methods,
            floor=False,
        )

    def tell(self, rows: list[dict[str, Any]]) -> None:
        """Their gaps, to the sampler and the record."""
        expected = sum(getattr(s, "stages", 1) for s in self.config.scenario)
        expected *= len(self.settings.seeds)
        for name, trial in self.open.items():
            gaps = [row["gap"] for row in rows if row["row"] == name]
            gap = sum(gaps) / len(gaps) if len(gaps) == expected else None
            if gap is None:
                self.study.tell(trial, state=_optuna().trial.TrialState.FAIL)
            else:
                self.study.tell(trial, gap)
            self.trials.append({"trial": trial.number, "settings": trial.params, "gap": gap})

    def result(self) -> dict[str, Any]:
        ordered = sorted(
            self.trials, key=lambda one: (one["gap"] is None, one["gap"] or 0.0, one["trial"])
        )
        if ordered[0]["gap"] is None:
            raise CounError(
                f"no candidate of {self.method.title} on {self.bed.name} could be measured; "
                "narrow its search ranges (a lower lr?)"
            )
        return {"chosen": ordered[0]["settings"], "gap": ordered[0]["gap"], "trials": ordered}


def _own(config: Config, method: MethodConfig, bed: Bed) -> dict[str, Any]:
    """What the method would run with untuned, where the ranges hold it."""
    original = recipe(bed.model, bed.train).settings()
    preset = protocol_of(config).methods.get(method.name)
    known = method.build(bed.name, {}, preset).with_defaults_from(original).settings()
    known |= {f"contrast.{key}": value for key, value in (known.get("contrast") or {}).items()}
    own = {}
    for key, one in method.search.items():
        value = known.get(key)
        if isinstance(one, Range):
            held = isinstance(value, int | float) and one.low <= value <= one.high
        else:
            held = value in one
        if held:
            own[key] = value
    return own


def _distribution(optuna: Any, one: Range | tuple[Any, ...]) -> Any:
    if not isinstance(one, Range):
        return optuna.distributions.CategoricalDistribution(one)
    whole = isinstance(one.low, int) and isinstance(one.high, int)
    kinds = optuna.distributions.IntDistribution, optuna.distributions.FloatDistribution
    return kinds[not whole](one.low, one.high, log=one.log)


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise CounError(
            "[tune] needs Optuna, which is not installed: pip install 'coun[tune]', or leave "
            "tuning out with --no-tune"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
