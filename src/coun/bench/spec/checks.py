"""What a plan refuses because the run would: methods, rows and classes that do not fit the data."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from coun.bench.spec.config import Config, Workload
from coun.bench.spec.experiment import Train, Unlearn, keeping_interval
from coun.bench.spec.planned import PlannedModel
from coun.bench.spec.workload import MissingDataError, data_spec, new_classifier
from coun.data import Data, Split
from coun.data.requests.whole_class import class_label
from coun.errors import CounError, unknown
from coun.federated import Federated
from coun.methods import Method, make
from coun.methods import contrast as add_contrast
from coun.runs.recipes import recipe
from coun.runs.unlearning import checked_access


def check_models(config: Config, workload: Workload, models: Iterable[PlannedModel]) -> None:
    """Refuse models of one table and seed that their runs would refuse (`Method.check`).

    Only the first stage of a sequential request is looked at. Where the data is missing, only
    the labels of rows are checked.

    Raises: CounError that says which row does not fit, and why.
    """
    models = list(models)
    _check_rows(config, models)
    try:
        data = data_spec(config, workload).load()
    except MissingDataError:
        return
    classifier = new_classifier(workload.model, len(data.classes), data.input_shape)
    for model in models:
        if model.stage == 1:
            try:
                split = _split(model.experiment, data)
                method_of(model.experiment).check(classifier, data, split)
            except CounError as error:
                place = f"row '{model.row}' of the scenario '{model.scenario}'"
                raise CounError(f"{place}: {error}") from None


def check_classes(config: Config, workload: Workload) -> None:
    """Refuse classes in `semantics` and `maps` that the data does not have. Raises: CounError."""
    try:
        data = data_spec(config, workload).load()
    except MissingDataError:
        return
    names = [] if config.semantics is None else [config.semantics.of, *config.semantics.classes]
    if config.maps is not None and config.maps.of is not None:
        names.append(config.maps.of)
    for name in names:
        class_label(data, name)


def method_of(experiment: Train | Unlearn) -> Method:
    """Make the method of an experiment, with all its settings, as its run makes it.

    Raises: CounError for settings that do not go together.
    """
    setting = experiment.setting
    if isinstance(experiment, Train):
        method: Method = recipe(setting.model, setting.recipe)
    else:
        method = make(experiment.method, experiment.settings, trust=True)  # `parse` asked for it
        if experiment.contrast is not None:
            method = add_contrast(method, **experiment.contrast)
        method = method.with_defaults_from(setting.recipe)
        if method.needs_kept_epochs:
            most = int(setting.recipe["epochs"]) - keeping_interval(setting.recipe)
            if method.settings()["epochs"] > most:
                raise CounError(
                    f"{method.name} by {method.settings()['epochs']} epochs of the Original's "
                    f"{setting.recipe['epochs']}; expected at most {most}, after the first epoch "
                    "that is kept"
                )
    if setting.federation is not None:
        method = Federated(method, setting.federation)
    if isinstance(experiment, Unlearn):
        checked_access(experiment.retain_access, method)
    return method


def _split(experiment: Train | Unlearn, data: Data) -> Split | None:
    """The rows of an experiment, with arbitrary ones where models would choose them by a score."""
    forget = experiment.forget
    if forget is None:
        return None
    scores = np.zeros(len(data.train)) if forget.scores else None
    return Split.of(data, forget.request, seed=forget.seed or 0, scores=scores)


def _check_rows(config: Config, models: list[PlannedModel]) -> None:
    """Refuse two rows of one name, and rows of maps that no table has."""
    rows = [(model.stage, model.row) for model in models]
    for stage, row in rows:
        if rows.count((stage, row)) > 1:
            raise CounError(
                f"two rows of the table are called '{row}'; give each method another label"
            )
    names = list(dict.fromkeys(model.row for model in models))
    for name in config.maps.rows if config.maps else ():
        if name not in names:
            raise unknown("row of maps", name, names)
