"""A plan: the models in the rows of the tables, and the experiments that make and measure them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from coun.bench.spec.config import Config
from coun.bench.spec.experiment import (
    Compare,
    Ensemble,
    Evaluate,
    Experiment,
    Semantics,
    Train,
    Unlearn,
    closure,
)
from coun.bench.spec.workload import WorkloadInfo
from coun.errors import CounError, nearest
from coun.metrics.registry import with_named

ORIGINAL, RETRAIN, FLOOR = "Original", "Retrain", "Retrain again"  # reference rows and roles
METHOD, CANDIDATE = "method", "candidate"  # the other roles
PARTS = ("row", "workload", "scenario", "seed")  # what `Plan.only` can select by


@dataclass(frozen=True)
class PlannedModel:
    """One model in one row of one table, for one seed.

    Args:
        workload, scenario, stage: the table; *stage* counts from 1.
        row: the label of the row.
        base: the label without the varied settings, which *varied* holds.
        role: `METHOD`, `CANDIDATE` (a runner-up of the search), or a reference row.
        reads: the roles of rows that the method reads.
        module: whether the contrastive module takes part.
        settings: all settings of the method, with their defaults.
        experiment: makes the model.
        evaluation: measures the model.
        retrain: measures the Retrain of the same seed.
        comparison: computes metrics of the config that `Evaluate` does not; None without any.
        semantics: says where the rows of one class go; None where the config names no class.
    """

    workload: str
    scenario: str
    stage: int
    row: str
    base: str
    role: str
    method: str
    reads: tuple[str, ...]
    module: bool
    varied: dict[str, Any]
    settings: dict[str, Any]
    seed: int
    experiment: Train | Unlearn
    evaluation: Evaluate
    retrain: Evaluate
    comparison: Compare | None = None
    semantics: Semantics | None = None

    @property
    def measured(self) -> tuple[Experiment, ...]:
        """The measurements from which the record of the model is made."""
        further = (self.comparison, self.semantics)
        return (self.retrain, self.evaluation, *(e for e in further if e is not None))


@dataclass(frozen=True)
class PlannedEnsemble:
    """One row of one table, whose models of all seeds are compared with all Retrains."""

    workload: str
    scenario: str
    stage: int
    row: str
    experiment: Ensemble


@dataclass
class Plan:
    """Everything that a bench computes.

    Args:
        models: the models in its tables.
        workloads: what is known about each workload, by name.

    >>> from coun.bench import load, make_plan
    >>> plan = make_plan(load("demo"))
    >>> len(plan.models), len(plan.only(["row=FT"]).models)
    (21, 3)
    """

    config: Config
    models: list[PlannedModel]
    workloads: dict[str, WorkloadInfo] = field(default_factory=dict)

    @property
    def experiments(self) -> list[Experiment]:
        """All experiments, each once, seed by seed, in an order that can be computed."""
        ordered = sorted(self.models, key=lambda model: model.seed)
        measured = [e for model in ordered for e in model.measured]
        return closure([*measured, *(ensemble.experiment for ensemble in self.ensembles)])

    @property
    def ensembles(self) -> list[PlannedEnsemble]:
        """The comparisons of the models of all seeds, one for each row; none without metrics."""
        registered = with_named(self.config.metrics)
        metrics = tuple(name for name in self.config.metrics if registered[name].compares_runs)
        tables: dict[tuple[str, str, int], dict[str, list[PlannedModel]]] = {}
        for model in self.models if metrics else ():
            rows = tables.setdefault((model.workload, model.scenario, model.stage), {})
            rows.setdefault(model.row, []).append(model)
        planned = []
        for table, by_row in tables.items():
            retrains, originals = (
                tuple(m.experiment for m in by_row.get(role, []) if isinstance(m.experiment, Train))
                for role in (RETRAIN, ORIGINAL)
            )
            for row, group in by_row.items():
                if group[0].role in (RETRAIN, CANDIDATE) or not retrains:
                    continue
                experiment = Ensemble(
                    group[0].evaluation.setting,
                    tuple(model.experiment for model in group),
                    retrains,
                    originals,
                    group[0].evaluation.forget,
                    metrics,
                )
                planned.append(PlannedEnsemble(*table, row, experiment))
        return planned

    def only(self, selections: Iterable[str]) -> Plan:
        """Keep the part of the plan that all *selections* name.

        Args:
            selections: each is `KEY=VALUE,VALUE` with one of the keys row, workload, scenario
                and seed, or the label of a row.

        Raises: CounError for a selection that names nothing.
        """
        models = self.models
        for selection in selections:
            key, equals, values = selection.partition("=")
            if not equals or selection in {model.row for model in self.models}:
                key, values = "row", selection
            if key not in PARTS:
                raise CounError(
                    f"--only {selection}: unknown key '{key}'{nearest(key, PARTS)}; "
                    f"known: {', '.join(PARTS)}"
                )
            names = {name for model in self.models for name in _names(model, key)}
            selected = set(values.split(","))
            for value in sorted(selected - names):
                raise CounError(
                    f"--only {selection}: unknown {key} '{value}'{nearest(value, names)}; "
                    f"known: {', '.join(sorted(names))}"
                )
            models = [model for model in models if _names(model, key) & selected]
        return Plan(self.config, models, self.workloads)


def _names(model: PlannedModel, key: str) -> set[str]:
    """The values by which `Plan.only` finds *model*."""
    return {str(getattr(model, key)), *([model.base] if key == "row" else [])}
