"""From a config to experiments: the models in the rows of the tables, and what they need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from coun.bench.spec.checks import check_classes, check_models
from coun.bench.spec.config import Config, Workload
from coun.bench.spec.experiment import (
    FLOOR_SEED_OFFSET,
    Compare,
    Evaluate,
    ExperimentSetting,
    ForgetSpec,
    Score,
    Semantics,
    Train,
    Unlearn,
)
from coun.bench.spec.forget import label, seed_of_draw
from coun.bench.spec.method_config import MethodConfig
from coun.bench.spec.planned import (
    CANDIDATE,
    FLOOR,
    METHOD,
    ORIGINAL,
    RETRAIN,
    Plan,
    PlannedModel,
)
from coun.bench.spec.workload import (
    WorkloadInfo,
    check_request,
    data_spec,
    in_federation,
    protocol_of,
    workload_info,
)
from coun.data.requests import Random, Request
from coun.engine.process_group import ProcessGroup
from coun.methods import find, without_contrast
from coun.metrics import GAP_METRICS
from coun.metrics.registry import with_named
from coun.runs.recipes import inherited, recipe

HALF_MODEL_SEED = 500_000  # the models that memorisation is estimated from count up from here
Tuned = Mapping[str, Mapping[str, Mapping[str, Any]]]  # by workload and method, see `tune`


def make_plan(
    config: Config,
    *,
    allow_missing_data: bool = False,
    tuned: Tuned | None = None,
    seeds: Iterable[int] | None = None,
    holdout: float = 0.0,
    methods: Iterable[MethodConfig] | None = None,
    floor: bool = True,
) -> Plan:
    """Plan all models of a bench. Nothing is computed, but the data is read.

    Args:
        config: what to plan.
        allow_missing_data: use the config's `expect` where data cannot be loaded. Such a plan
            can be counted but not run.
        tuned: the result of `tune`, by workload and method title. The chosen settings are
            used, and with `oracle` as many runners-up are planned as candidates.
        seeds, methods: replace those of the config, for tuning.
        holdout: share of the training rows that replaces the test rows, for tuning.
        floor: False leaves the second Retrain out.

    Returns: every model with the experiments that it needs.

    >>> from coun.bench import load
    >>> plan = make_plan(load("demo")).only(["seed=0"])
    >>> [model.row for model in plan.models]
    ['Original', 'Retrain', 'Retrain again', 'FT', 'NoT', 'CoUn', 'NoT + CL']
    """
    plan = Plan(config, [])
    for workload in config.workload:
        info = workload_info(
            config, workload, holdout=holdout, allow_missing_data=allow_missing_data
        )
        plan.workloads[workload.name] = info
        setting = _setting(config, workload, info, holdout)
        check_classes(config, workload)
        for scenario in config.scenario:
            check_request(config, workload, scenario)
            for number, seed in enumerate(config.seeds if seeds is None else seeds):
                models = _SeedPlanner(config, workload, setting, scenario, seed).models(
                    config.method if methods is None else methods,
                    (tuned or {}).get(workload.name, {}),
                    floor and (config.floor is None or seed in config.floor),
                )
                if number == 0:  # the others differ in their draws only
                    check_models(config, workload, models)
                plan.models += models
    return plan


def _setting(
    config: Config, workload: Workload, info: WorkloadInfo, holdout: float
) -> ExperimentSetting:
    return ExperimentSetting(
        workload.name,
        data_spec(config, workload, holdout=holdout),
        info.fingerprint,
        info.views,
        workload.model,
        workload.train,
        recipe(workload.model, workload.train).settings(),
        info.device,
        info.precision,
        config.compute.threads,
        config.compute.compile,
        ProcessGroup.current().count,
        workload.federation,
        config.compute.memory_format,
    )


@dataclass
class _SeedPlanner:
    """Plans the models of one workload, one scenario and one seed."""

    config: Config
    workload: Workload
    setting: ExperimentSetting
    scenario: Request
    seed: int

    def models(
        self, methods: Iterable[MethodConfig], tuned: Mapping[str, Any], floor: bool
    ) -> list[PlannedModel]:
        original = Train(self.setting, self.seed)
        models: list[PlannedModel] = []
        latest: dict[str, Train | Unlearn] = {}  # the model of the previous stage, by row
        earlier: ForgetSpec | None = None
        for stage, forget in enumerate(self.forget_specs(original), 1):
            exact = Train(self.setting, self.seed, forget)
            retrain = self.evaluation(exact, forget)
            reads = ("forget", "retain")
            models.append(self.planned(ORIGINAL, original, retrain, stage, reads=reads))
            models.append(self.planned(RETRAIN, exact, retrain, stage))
            if floor:
                again = Train(self.setting, self.seed + FLOOR_SEED_OFFSET, forget)
                models.append(self.planned(FLOOR, again, retrain, stage))
            for method in methods:
                for row, values, role in self.rows(method, tuned.get(method.title, {})):
                    start = latest.get(row, original)
                    # The half of the test rows that a method reads must not measure it.
                    unread = "held_out" in find(method.name, trust=True).reads
                    reference = replace(retrain, unread=True) if unread else retrain
                    experiment = self.unlearning(method, values, start, forget, earlier)
                    latest[row] = experiment
                    models.append(
                        self.planned(
                            row,
                            experiment,
                            reference,
                            stage,
                            base=method.title,
                            role=role,
                            method=method.name,
                            reads=tuple(sorted(find(method.name, trust=True).reads)),
                            module=_uses_module(method, experiment.resolved),
                            varied={key: values[key] for key in method.vary},
                            settings=experiment.resolved,
                        )
                    )
            earlier = forget
        return models

    def rows(
        self, method: MethodConfig, tuned: Mapping[str, Any]
    ) -> list[tuple[str, dict[str, Any], str]]:
        """The rows of a method: label, chosen settings, role."""
        best = dict(tuned.get("chosen", {}))
        rows = []
        for varied in method.variants():
            words = (f" {key.removeprefix('contrast.')}={v}" for key, v in varied.items())
            rows.append((method.title + "".join(words), {**best, **varied}, METHOD))
        oracle = self.config.tune.oracle if self.config.tune else 0
        for trial in tuned.get("trials", [])[1 : 1 + oracle]:
            if trial["gap"] is not None:
                label = f"{method.title} candidate {trial['trial']}"
                values = {**trial["settings"], **{k: v[0] for k, v in method.vary.items()}}
                rows.append((label, values, CANDIDATE))
        return rows

    def planned(
        self, row: str, experiment: Train | Unlearn, retrain: Evaluate, stage: int, **details: Any
    ) -> PlannedModel:
        """One model of a table; without *details* a reference row."""
        reference = {
            "base": row,
            "role": row,
            "method": "retrain",
            "reads": ("retain",),
            "module": False,
            "varied": {},
            "settings": {},
        }
        return PlannedModel(
            workload=self.workload.name,
            scenario=label(self.scenario),
            stage=stage,
            row=row,
            seed=self.seed,
            experiment=experiment,
            evaluation=replace(retrain, subject=experiment),
            retrain=retrain,
            comparison=self.comparison(experiment, retrain),
            semantics=self.semantics(experiment, retrain.forget),
            **{**reference, **details},
        )

    def unlearning(
        self,
        method: MethodConfig,
        values: Mapping[str, Any],
        start: Train | Unlearn,
        forget: ForgetSpec,
        earlier: ForgetSpec | None,
    ) -> Unlearn:
        # A protocol's own settings come first; those of the config replace them.
        preset = protocol_of(self.config).methods.get(method.name, {})
        settings, module = method.arguments(self.workload.name, values, preset)
        # What the run will inherit from the record of the model that it starts from.
        start_method = start.method if isinstance(start, Unlearn) else "retrain"
        start_settings = start.resolved if isinstance(start, Unlearn) else {}
        record = {
            "method": {"name": start_method, "settings": start_settings},
            "original": self.setting.recipe,
        }
        full = method.build(
            self.workload.name, values, {**inherited(method.name, record), **preset}
        )
        resolved = full.with_defaults_from(self.setting.recipe).settings()
        return Unlearn(
            self.setting,
            start,
            forget,
            method.name,
            settings,
            module,
            resolved,
            self.seed,
            earlier,
            method.access(values),
            method.preparation_of_original,
        )

    def evaluation(self, subject: Train | Unlearn, forget: ForgetSpec) -> Evaluate:
        return Evaluate(self.setting, subject, forget, protocol_of(self.config).mia)

    def comparison(self, subject: Train | Unlearn, retrain: Evaluate) -> Compare | None:
        metrics = with_named(self.config.metrics)
        names = [name for name in self.config.metrics if name not in GAP_METRICS]
        further = tuple(name for name in names if not metrics[name].compares_runs)
        if not further:
            return None
        needs = {need.partition(".")[0] for name in further for need in metrics[name].needs}
        original = Train(self.setting, self.seed) if needs & {"original", "start"} else None
        assert isinstance(retrain.subject, Train)
        return Compare(
            self.setting,
            subject,
            retrain.subject,
            retrain.forget,
            further,
            retrain.unread,
            original,
        )

    def semantics(self, subject: Train | Unlearn, forget: ForgetSpec) -> Semantics | None:
        of = self.config.semantics and self.config.semantics.of
        return Semantics(self.setting, subject, forget, of) if of else None

    def forget_specs(self, original: Train) -> list[ForgetSpec]:
        """The request as growing forget sets, one for each stage."""
        request, draw = self.scenario, protocol_of(self.config).draw
        fixed = self.config.request_seed
        draw_seed = self.seed if fixed is None else fixed
        if getattr(request, "draw", draw) != draw and "draw" not in request.model_fields_set:
            request = request.model_copy(update={"draw": draw})
        request = in_federation(self.workload, request)
        return [
            ForgetSpec(stage, seed_of_draw(stage, draw_seed), self.scores(stage, original))
            for stage in request.in_stages()
        ]

    def scores(self, request: Request, original: Train) -> Score | None:
        """The experiment that scores the rows, if *request* chooses rows by a score."""
        if not request.needs_scores:
            return None
        seeds = range(HALF_MODEL_SEED, HALF_MODEL_SEED + request.half_models)
        half = Random(fraction=0.5)
        models = [Train(self.setting, seed, ForgetSpec(half, seed)) for seed in seeds]
        return Score(self.setting, request, (*([original] * request.needs_original), *models))


def _uses_module(method: MethodConfig, resolved: Mapping[str, Any]) -> bool:
    """Whether the contrastive module takes part: it is added, and its weight is not 0."""
    module = resolved.get("contrast") or resolved
    has_module = method.contrast is not None or without_contrast(method.name) != method.name
    return has_module and module["weight"] > 0
