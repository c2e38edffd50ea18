"""The models of an audit: opened, named, and asked for what the tests need."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch

from coun.audit.canaries import canary_scores
from coun.audit.nearby import nearby_odds
from coun.audit.relearning import relearn_half, relearning_is_cheap, rescaling
from coun.audit.scores import RelearnedHalf, Subject
from coun.audit.shadow_attacks import attack_scores, shadow_attacks
from coun.data import Data, Split
from coun.errors import CounError, require_type
from coun.runs import Predictions, Run, SharedOutputs, predictions
from coun.runs.comparison import check_comparable, refuse_same_weights
from coun.runs.measuring import require_finite
from coun.runs.record import RunRecord
from coun.trust import Trust

Model = Run | str | Path
T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True)
class ByRole(Generic[T]):
    """The models of an audit by what they are there for: their runs, or what was made of them."""

    unlearned: tuple[T, ...]
    retrains: tuple[T, ...]
    original: T | None

    @property
    def all(self) -> tuple[T, ...]:
        """The unlearned models, the Retrains, the Original."""
        return self.unlearned + self.retrains + (() if self.original is None else (self.original,))

    def regrouped(self, values: Sequence[U]) -> ByRole[U]:
        """Give *values*, one for each of `all`, the same roles."""
        retrains = len(self.unlearned)
        original = retrains + len(self.retrains)
        return ByRole(
            tuple(values[:retrains]),
            tuple(values[retrains:original]),
            None if self.original is None else values[original],
        )


def opened_models(
    unlearned: Model | Sequence[Model],
    against: Model | Sequence[Model],
    original: Model | None,
    data: Data | str | None,
    trust: Trust,
) -> ByRole[Run]:
    """Open the models on *data*; the data of the first are loaded once for all."""
    models = ByRole(_listed(unlearned), _listed(against), original)
    if not models.unlearned:
        raise CounError("no model to audit; expected at least one unlearned run")
    runs: list[Run] = []
    for model in models.all:
        runs.append(
            model
            if isinstance(model, Run)
            else Run.open(model, data=data, allow_missing=True, trust=trust)
        )
        data = data if isinstance(data, Data) else runs[0].data
    return models.regrouped(runs)


def check_models(models: ByRole[Run], data: Data, split: Split) -> None:
    """Refuse runs of other data or another request, and a model that is given twice."""
    for run in models.unlearned:
        check_comparable(run, data, split, as_retrain=False)
    for run in models.retrains:
        check_comparable(run, data, split, as_retrain=True)
    if models.original is not None:
        _check_original(models.original, data, split)
    digests = models.regrouped([run.record.weights_sha256 for run in models.all])
    refuse_same_weights([*models.unlearned, *models.retrains])
    if digests.original is not None and digests.original in digests.retrains:
        raise CounError(
            "a Retrain has the same weights as the Original, which saw the forgotten rows; "
            "expected a model that was trained without them"
        )


def _check_original(original: Run, data: Data, split: Split) -> None:
    """Refuse as the control a model of other data, or one that forgot the rows as well."""
    check_comparable(original, data, None, as_retrain=False)
    forgotten = (
        0 if original.split is None else int(torch.isin(split.forget, original.split.forget).sum())
    )
    if forgotten:
        raise CounError(
            f"{original.where} forgot {forgotten:,} of the {len(split.forget):,} rows itself and "
            "is no control; expected as the Original a model that saw all of them"
        )


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
    runs: Sequence[Run],
    data: Data,
    split: Split,
    *,
    retrains: Sequence[Subject],
    relearn: bool | None,
    seed: int,
) -> list[str]:
    """Give *subjects* what further tests need of their *runs*; returns what was looked at."""
    looked_at = []
    several = len(split.rows(data, "forgotten")) > 1
    if several and (relearn or (relearn is None and relearning_is_cheap(runs))):
        looked_at.append("what relearning half of the rows brings back")
        scales = rescaling(subjects, retrains)
        for subject, run, scale in zip(subjects, runs, scales, strict=True):
            subject.relearned = _relearned(run, split, seed, scale)
    looked_at.append("answers to slightly changed copies of the rows")
    for subject, run in zip(subjects, runs, strict=True):
        subject.optional = {"nearby": nearby_odds(run, split)}
    return looked_at


def _relearned(run: Run, split: Split, seed: int, scale: float) -> RelearnedHalf:
    """What comes back of *run* with logits as large as the Retrains', or with its own if smaller.

    A model whose logits are small because all its weights are, as after weight decay, relearns
    sooner with larger ones, whatever it remembers. Less of what comes back counts.
    """
    halves = [relearn_half(run, split, seed=seed, rescale=scale)]
    if scale > 1:
        halves.append(relearn_half(run, split, seed=seed))
    return min(halves, key=lambda half: float(half.right.mean()))


def attack_with_shadows(
    subjects: Sequence[Subject],
    data: Data,
    split: Split,
    count: int,
    cache: str | Path | None,
    recipe: RunRecord,
) -> dict[str, Any]:
    """Give *subjects* the scores of attacks with shadow models; returns the results by name."""
    runs = {subject.name: subject.run for subject in subjects if subject.run is not None}
    attacks = shadow_attacks(runs, data, split, count, cache, recipe)
    for subject in subjects:
        scores = attack_scores(attacks[subject.name])
        subject.optional = {**(subject.optional or {}), **scores}
    return {name: attack.to_json() for name, attack in attacks.items()}


def look_at_canaries(
    subjects: Sequence[Subject], runs: Sequence[Run], data: Data, split: Split
) -> bool:
    """Give *subjects* their answers to canaries, if all were forgotten; returns whether so."""
    canaries = data.canaries
    if canaries is None or not torch.isin(canaries.member_numbers, split.forget).all():
        return False
    for subject, run in zip(subjects, runs, strict=True):
        subject.canaries = canary_scores(run, data)
    return True


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


def names_of(models: ByRole[Run]) -> list[str]:
    """A short name for each model: the method's, numbered where there are several."""
    names = []
    for run in models.unlearned:
        method = run.record.method.name
        names.append("this model" if method in ("retrain", "original", "given") else method)
    names = _numbered(names) + _numbered(["Retrain"] * len(models.retrains))
    return names if models.original is None else [*names, "Original"]


def _numbered(names: list[str]) -> list[str]:
    """*names* with their positions, counted from 1, where there are several."""
    return names if len(names) == 1 else [f"{name} {k}" for k, name in enumerate(names, 1)]


def _listed(models: Model | Sequence[Model]) -> tuple[Model, ...]:
    if isinstance(models, (Run, str, Path)):
        return (models,)
    require_type(models, Iterable, "a run to audit", "a run, its folder, or several of them")
    return tuple(models)
