"""The models of an audit: opened, named, and asked for what the tests need."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from coun.audit.optional import nearby_odds, relearn_half, relearning_is_cheap
from coun.audit.scores import Subject
from coun.data import Data, Split
from coun.errors import CounError, require_type
from coun.runs import Predictions, Run, SharedOutputs, predictions
from coun.runs.measuring import require_finite
from coun.trust import Trust

Model = Run | str | Path


def opened_runs(models: Sequence[Model], data: Data | str | None, trust: Trust) -> list[Run]:
    """Open *models* on *data*; the data of the first are loaded once for all."""
    runs: list[Run] = []
    for model in models:
        runs.append(
            model
            if isinstance(model, Run)
            else Run.open(model, data=data, allow_missing=True, trust=trust)
        )
        data = data if isinstance(data, Data) else runs[0].data
    return runs


def audited_split(runs: Sequence[Run], data: Data, split: Split | None) -> Split:
    """The request to audit: *split*, or the first on record, some of whose rows are in *data*."""
    split = split or next((run.split for run in runs if run.split), None)
    if split is None:
        raise CounError(
            "no run has a forget request on record; name the forgotten rows, with --forget-ids or "
            "another option (in Python split=...)"
        )
    if len(split.rows(data, "forgotten")) == 0:
        raise CounError(
            "none of the forgotten rows is in the data any more, so how the model treats them "
            "cannot be measured; say where a copy of them is with --data (in Python data=...)"
        )
    return split


def look_closer(
    subjects: Sequence[Subject],
    runs: list[Run],
    data: Data,
    split: Split,
    *,
    relearn: bool | None,
    seed: int,
) -> list[str]:
    """Give *subjects* what further tests need of their *runs*; returns what was looked at."""
    looked_at = []
    several = len(split.rows(data, "forgotten")) > 1
    if several and (relearn or (relearn is None and relearning_is_cheap(runs))):
        looked_at.append("what relearning half of the rows brings back")
        for subject, run in zip(subjects, runs, strict=True):
            subject.relearned = relearn_half(run, split, seed=seed)
    looked_at.append("answers to slightly changed copies of the rows")
    for subject, run in zip(subjects, runs, strict=True):
        subject.optional = {"nearby": nearby_odds(run, split)}
    return looked_at


def outputs_of(
    run: Run, data: Data, split: Split, progress: bool, shared: SharedOutputs | None
) -> Predictions:
    """Outputs on all rows that must be forgotten by now, on retained and on test rows.

    The model sees the rows of *data* as it was trained to see them, by views of its own.
    """
    data = replace(data, views=run.data.views)
    predicted = predictions(
        run.classifier, data, split, progress=progress, title="audit", shared=shared
    )
    require_finite(predicted, run.where)
    return predicted


def listed(given: Model | Sequence[Model]) -> list[Model]:
    if isinstance(given, (Run, str, Path)):
        return [given]
    require_type(given, Iterable, "a run to audit", "a run, its folder, or several of them")
    return list(given)


def names_of(runs: Sequence[Run], models: int, retrains: int) -> list[str]:
    """A short name for each model: the method's, numbered where there are several."""
    names = []
    for k, run in enumerate(runs):
        if k < models:
            method = run.record.method.name
            name = "this model" if method in ("retrain", "original", "given") else method
            names.append(f"{name} {k + 1}" if models > 1 else name)
        elif k < models + retrains:
            names.append(f"Retrain {k - models + 1}" if retrains > 1 else "Retrain")
        else:
            names.append("Original")
    return names
