"""Maps of the features of models of a bench, drawn once and kept as files."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import torch

from coun.bench.execute.experiments import open_model
from coun.bench.execute.store import Store
from coun.bench.spec.config import MapsConfig
from coun.bench.spec.planned import FLOOR, Plan, PlannedModel
from coun.data.requests.whole_class import class_label
from coun.models import Outputs
from coun.report.picture import save_figure
from coun.runs import Predictions, predictions

FOLDER = "maps"
SUFFIXES = (".png", ".pdf", ".svg")


def draw(plan: Plan, store: Store, out: Path) -> list[Path]:
    """Draw the maps that the config asks for into `maps/` of *out*; finished ones are kept.

    Each table has one picture, of its first seed, as PNG, PDF and SVG. A table is left out while
    one of its models is missing.
    """
    maps = plan.config.maps
    if maps is None:
        return []
    tables: dict[str, list[PlannedModel]] = {}
    for model in plan.models:
        chosen = model.row in maps.rows if maps.rows else model.row != FLOOR
        if model.seed == plan.config.seeds[0] and chosen:
            tables.setdefault(name_of(model.workload, model.scenario, model.stage), []).append(
                model
            )
    drawn = []
    for name, models in tables.items():
        paths = [out / FOLDER / f"{name}{suffix}" for suffix in SUFFIXES]
        if all(path.exists() for path in paths):
            continue
        if all(store.has(model.experiment) for model in models):
            drawn += _draw(maps, models, store, paths)
    return drawn


def name_of(workload: str, scenario: str, stage: int) -> str:
    """Name the picture of a table by its title, in characters that every file system has."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", f"{workload}-{scenario}-{stage}").strip("-")


def _draw(
    maps: MapsConfig, models: list[PlannedModel], store: Store, paths: list[Path]
) -> list[Path]:
    from coun.report.figures import feature_maps  # matplotlib is slow to import

    by_row: dict[str, Predictions] = {}
    for model in models:
        run, data, split = open_model(model.experiment, model.evaluation.forget, store)
        by_row[model.row] = predictions(run.classifier, data, split)
    of = None if maps.of is None else class_label(data, maps.of)
    labels = next(iter(by_row.values())).labels
    forget = (
        torch.arange(len(labels["forget"]))
        if of is None
        else (labels["forget"] == of).nonzero().flatten()
    )
    forget = forget[torch.randperm(len(forget), generator=torch.Generator().manual_seed(0))]
    chosen = {row: _only(value, forget[: maps.forget]) for row, value in by_row.items()}
    figure = feature_maps(chosen, data.classes, method=maps.projection, retain=maps.retain, seed=0)
    return save_figure(figure, paths)


def _only(whole: Predictions, rows: torch.Tensor) -> Predictions:
    """The same predictions with only *rows* of the forget part."""
    part = Outputs(*(value[rows] for value in whole.outputs["forget"]))
    labels = whole.labels["forget"][rows]
    return replace(
        whole,
        outputs={**whole.outputs, "forget": part},
        labels={**whole.labels, "forget": labels},
    )
