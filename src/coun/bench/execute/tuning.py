"""The same search budget for every method, on seeds and rows that no reported number uses."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from coun.bench.execute.records import collect
from coun.bench.execute.store import Store
from coun.bench.spec.config import Config, TuneConfig, Workload
from coun.bench.spec.experiment import Experiment
from coun.bench.spec.method_config import MethodConfig, SearchRange
from coun.bench.spec.plan import make_plan
from coun.bench.spec.planned import Plan
from coun.bench.spec.workload import protocol_of
from coun.errors import CounError
from coun.runs.recipes import recipe

Compute = Callable[[Iterable[Experiment]], Mapping[str, str]]


def tune(config: Config, compute: Compute, store: Store) -> dict[str, Any]:
    """Search the settings of every method that has search ranges.

    Each method gets exactly `trials` candidates per workload: first the settings of the config,
    then draws by Optuna from a random stream of its own, so that adding a method does not
    change the candidates of another. A candidate is judged by its mean gap over the
    development seeds and the scenarios. Only training rows are used: a held-out share of them
    replaces the test set, in accuracy and attack alike. Repeating a search computes nothing
    again.

    Args:
        compute: computes experiments into *store*.

    Returns: by workload and method title: the `chosen` settings, their `gap`, and all `trials`
        from best to worst. A trial that failed has no gap and comes last.

    Raises: CounError if Optuna is not installed, or if every candidate of a method failed.
    """
    assert config.tune
    rounds = 1 if config.tune.sampler == "random" else config.tune.trials
    searches = [
        _Search(config, config.tune, workload, method)
        for workload in config.workload
        for method in config.method
        if method.search
    ]
    for _ in range(rounds):
        plans = [search.ask(config.tune.trials // rounds) for search in searches]
        compute(experiment for plan in plans for experiment in plan.experiments)
        for search, plan in zip(searches, plans, strict=True):
            search.tell(collect(plan, store))
    tuned: dict[str, Any] = {}
    for search in searches:
        tuned.setdefault(search.workload.name, {})[search.method.title] = search.result()
    return tuned


class _Search:
    """The search for one method on one workload."""

    def __init__(
        self, config: Config, settings: TuneConfig, workload: Workload, method: MethodConfig
    ) -> None:
        optuna = _import_optuna()
        text = f"{settings.seed} {workload.name} {method.title}"
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
        kinds = {"random": optuna.samplers.RandomSampler, "tpe": optuna.samplers.TPESampler}
        self.study = optuna.create_study(sampler=kinds[settings.sampler](seed=seed))
        self.space = {key: _distribution(optuna, item) for key, item in method.search.items()}
        self.study.enqueue_trial(_untuned(config, method, workload))
        self.config = config.for_search(workload)
        self.settings, self.workload, self.method = settings, workload, method
        self.pending: dict[str, Any] = {}  # Optuna's trials that have no result yet, by row
        self.trials: list[dict[str, Any]] = []

    def ask(self, count: int) -> Plan:
        """Plan the next *count* candidates on the development seeds."""
        plain = self.method.model_copy(update={"search": {}, "vary": {}})
        self.pending, methods = {}, []
        for _ in range(count):
            trial = self.study.ask(self.space)
            title = f"{self.method.title} trial {trial.number}"
            self.pending[title] = trial
            settings = {**self.method.on.get(self.workload.name, {}), **trial.params}
            methods.append(
                plain.model_copy(update={"label": title, "on": {self.workload.name: settings}})
            )
        return make_plan(
            self.config,
            seeds=self.settings.seeds,
            holdout=self.settings.holdout,
            methods=methods,
            floor=False,
        )

    def tell(self, records: list[dict[str, Any]]) -> None:
        """Report the gaps of the pending candidates to the sampler, and record them."""
        expected = sum(len(request.in_stages()) for request in self.config.scenario)
        expected *= len(self.settings.seeds)
        for title, trial in self.pending.items():
            gaps = [record["gap"] for record in records if record["row"] == title]
            gap = sum(gaps) / len(gaps) if len(gaps) == expected else None
            if gap is None:
                self.study.tell(trial, state=_import_optuna().trial.TrialState.FAIL)
            else:
                self.study.tell(trial, gap)
            self.trials.append({"trial": trial.number, "settings": trial.params, "gap": gap})

    def result(self) -> dict[str, Any]:
        ordered = sorted(
            self.trials,
            key=lambda trial: (trial["gap"] is None, trial["gap"] or 0.0, trial["trial"]),
        )
        if ordered[0]["gap"] is None:
            raise CounError(
                f"every candidate of {self.method.title} on {self.workload.name} failed; narrow "
                "its search ranges (a smaller lr?)"
            )
        return {"chosen": ordered[0]["settings"], "gap": ordered[0]["gap"], "trials": ordered}


def _untuned(config: Config, method: MethodConfig, workload: Workload) -> dict[str, Any]:
    """The settings with which the method runs untuned, where its search ranges include them."""
    original = recipe(workload.model, workload.train).settings()
    preset = protocol_of(config).methods.get(method.name)
    built = method.build(workload.name, {}, preset)
    settings = built.with_defaults_from(original).settings()
    settings |= {f"contrast.{k}": v for k, v in (settings.get("contrast") or {}).items()}
    untuned = {}
    for key, item in method.search.items():
        value = settings.get(key)
        if isinstance(item, SearchRange):
            included = isinstance(value, int | float) and item.low <= value <= item.high
        else:
            included = value in item
        if included:
            untuned[key] = value
    return untuned


def _distribution(optuna: Any, item: SearchRange | tuple[Any, ...]) -> Any:
    """Optuna's form of a search range or of a list of values."""
    if not isinstance(item, SearchRange):
        return optuna.distributions.CategoricalDistribution(item)
    whole = isinstance(item.low, int) and isinstance(item.high, int)
    kinds = optuna.distributions.IntDistribution, optuna.distributions.FloatDistribution
    return kinds[not whole](item.low, item.high, log=item.log)


def _import_optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise CounError(
            "[tune] needs Optuna, which is not installed: pip install 'coun[tune]', or use "
            "--no-tune to leave the search out"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
