"""An audit: does an unlearned model treat forgotten rows as a model that never saw them would?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np

from coun.analysis import theory as theory_table
from coun.audit.drift import input_drift
from coun.audit.evidence import ALPHA
from coun.audit.measures import average, compare, describe, ensembles
from coun.audit.models import (
    ByRole,
    Model,
    attack_with_shadows,
    audited_split,
    check_models,
    look_at_canaries,
    look_closer,
    names_of,
    opened_models,
    outputs_of,
)
from coun.audit.networks import recipe_of
from coun.audit.over_seeds import over_seeds
from coun.audit.owners import owner_numbers, read_owners
from coun.audit.parts import RequestParts
from coun.audit.planning import advice, plan_of
from coun.audit.relearning import relearn_times
from coun.audit.result import Audit
from coun.audit.scores import Subject
from coun.audit.semantics import semantics
from coun.audit.shadow_attacks import recipe_of_shadows
from coun.audit.verdict import Gap, allowed_gap, judge
from coun.audit.wording import caveats, headline, sentence
from coun.data import Data, Split
from coun.errors import CounError
from coun.metrics import average_gap
from coun.runs import SharedOutputs
from coun.trust import Trust

MARGIN = 2.0


def audit(
    unlearned: Model | Sequence[Model],
    against: Model | Sequence[Model] = (),
    *,
    original: Model | None = None,
    split: Split | None = None,
    data: Data | str | None = None,
    margin: float = MARGIN,
    alpha: float = ALPHA,
    audits_so_far: int | None = None,
    groups: Mapping[str, str] | str | Path | None = None,
    rest: bool = True,
    relearn: bool | None = None,
    theory: bool = False,
    shadows: int = 0,
    cache: str | Path | None = None,
    seed: int = 0,
    trust: Trust = False,
    progress: bool = False,
    shared: SharedOutputs | None = None,
) -> Audit:
    """Judge *unlearned* against Retrains, or without any by the forgotten rows alone.

    Rows that were drawn at random or belong to a class that is forgotten whole are exchangeable
    with test rows of their class, for every model that never saw them; rank tests within classes
    are then exact. For any rows, a perfectly unlearned model is one more Retrain, so its levels
    on them are compared with the Retrains'. docs/audit.md explains the seven words.

    Args:
        unlearned: one run, or several seeds of one request, judged together.
        against: Retrains of the same request.
        original: the model before unlearning. It is a positive control, and the verdict "closer
            than the original" needs it.
        split: the forgotten rows, by default those on record of the first run that has any.
        data: the data of all runs, or the source where it is now; by default it is loaded again.
        margin: points of accuracy that count as no difference.
        alpha: the chance of a false accusation, of all tests together (Holm).
        audits_so_far: earlier audits of the same model. Audit number k then gets
            alpha / (k (k + 1)), so that any number of audits together keep to alpha.
        groups: owners of rows by row id, or a csv file with id,owner: whole owners are permuted.
        rest: also compute the metrics that the verdict does not need.
        relearn: test what a few steps of relearning bring back; by default only where it is
            cheap. True also measures relearn times if Retrains and the Original are given.
        theory: also measure how aligned views and how steep features are.
        shadows: train this many shadow models, and attack with LiRA and RMIA as well.
        cache: a folder for shadow models.
        seed: of permutations and subsets.
        trust: run code that the records of run folders name (see `Run.open`).
        progress: show a progress bar on standard error.
        shared: outputs that other functions computed or will read as well, with features.

    Returns: the verdict, with its tests, their power and all metrics.

    Raises: CounError if runs are of other data or other requests, a Retrain saw everything or is
        the Original, a model is given twice, no forgotten row is in the data, or a number is out
        of range.

    >>> import coun
    >>> data = coun.load("digits", limit=60)
    >>> original = coun.train(data, "mlp", epochs=1)
    >>> run = coun.unlearn(original, coun.Split.random(data, 0.2), "finetune", epochs=1)
    >>> audit(run, rest=False, relearn=False).verdict.label  # too few rows, and no Retrain
    'inconclusive'
    """
    if not (0 < margin < 100 and 0 < alpha < 1):
        raise CounError(f"margin {margin}, alpha {alpha}; expected 0 < margin < 100, 0 < alpha < 1")
    models = opened_models(unlearned, against, original, data, trust)
    runs = models.all
    data = data if isinstance(data, Data) else runs[0].data
    split = audited_split(runs, data, split)
    check_models(models, data, split)
    recipe = recipe_of_shadows(runs) if shadows else None
    subjects = [
        Subject(name, outputs_of(run, data, split, progress, shared), run, seed)
        for name, run in zip(names_of(models), runs, strict=True)
    ]
    roles = models.regrouped(subjects)
    looked_at = look_closer(
        subjects, runs, data, split, retrains=roles.retrains, relearn=relearn, seed=seed
    )
    optional: dict[str, Any] = {}
    if recipe is not None:
        looked_at.append("membership attacks with shadow models")
        optional["shadows"] = attack_with_shadows(subjects, data, split, shadows, cache, recipe)
    if look_at_canaries(subjects, runs, data, split):
        looked_at.append("canaries")
    result = _judged(
        roles,
        data,
        split,
        margin=margin,
        alpha=spent(alpha, audits_so_far),
        groups=groups,
        seed=seed,
        looked_at=tuple(looked_at),
    )
    result.optional.update(optional)
    if rest:
        _rest(result, margin)
    if relearn and result.original is not None and result.retrains:
        names = (result.retrains[0].name, result.original.name)
        result.optional["relearn"] = relearn_times(result.runs, *names, split)
    if theory:
        result.optional["theory"] = theory_table(result.runs, split)
    return result


def spent(alpha: float, audits_so_far: int | None) -> float:
    """The alpha of the next audit, so that all audits of one model together keep to *alpha*.

    Audit number k gets alpha / (k (k + 1)); the sum over all k is alpha.

    >>> spent(0.01, None), spent(0.01, 0), round(sum(spent(0.01, k) for k in range(999)), 6)
    (0.01, 0.005, 0.00999)
    """
    if audits_so_far is None:
        return alpha
    if audits_so_far < 0:
        raise CounError(f"{audits_so_far} audits so far; expected 0 or more")
    return alpha / ((audits_so_far + 1) * (audits_so_far + 2))


def _judged(
    subjects: ByRole[Subject],
    data: Data,
    split: Split,
    *,
    groups: Mapping[str, str] | str | Path | None,
    looked_at: tuple[str, ...],
    margin: float,
    **settings: Any,
) -> Audit:
    """The audit with its verdict, and nothing else computed."""
    unlearned, retrains, original = subjects.unlearned, subjects.retrains, subjects.original
    owners = None
    if groups is not None:
        owner_of = groups if isinstance(groups, Mapping) else read_owners(groups)
        owners = owner_numbers(owner_of, data, split)
    verdict, family, before = judge(
        unlearned,
        retrains,
        RequestParts.of(data, split),
        original=original,
        gap=_gap(unlearned, retrains, split, margin),
        owners=owners,
        input_drift=input_drift(data, split),
        margin=margin,
        **settings,
    )
    notes = caveats(verdict, family, looked_at)
    notes += _recipe_notes(unlearned, retrains, original)
    notes += _same_weights_notes(unlearned, original)
    missing = len(split.missing(data))
    if missing:
        notes.append(
            f"{missing:,} of {len(split.forget):,} forgotten rows are no longer in the data; how "
            "the model treats them cannot be measured."
        )
    to_add = ""
    if {"power", "no retrain"} & set(verdict.reasons):
        rows = plan_of(family, unlearned, retrains, original, margin=margin)
        to_add = advice(rows, len(retrains), len(family.parts.listed))
    verdict = replace(
        verdict,
        headline=headline(verdict, family, to_add),
        sentence=sentence(verdict, family, to_add),
        caveats=tuple(notes),
    )
    return Audit(
        verdict, split, data, unlearned, retrains, original, family, before, missing=missing
    )


def _same_weights_notes(unlearned: Sequence[Subject], original: Subject | None) -> list[str]:
    """Say which models under audit are the Original itself."""
    if original is None or original.run is None:
        return []
    digest = original.run.record.weights_sha256
    same = [s.name for s in unlearned if s.run and s.run.record.weights_sha256 == digest]
    return [
        f"The weights of {name} are those of the Original: nothing was changed." for name in same
    ]


def _recipe_notes(
    unlearned: Sequence[Subject], retrains: Sequence[Subject], original: Subject | None
) -> list[str]:
    """Say in which settings Retrains differ from the Original, and where no record names them."""
    recipes = {
        subject.name: recipe_of(subject)
        for subject in (*retrains, *([] if original is None else [original]))
        if subject.run is not None
    }
    expected = recipes.get("Original") or {}
    differences = [
        f"{subject.name} has {name}={recipe.get(name)}, not {expected.get(name)}"
        for subject in retrains
        if (recipe := recipes.get(subject.name)) and expected
        for name in sorted({*recipe, *expected})
        if recipe.get(name) != expected.get(name)
    ]
    notes = []
    if differences:
        notes.append(
            f"The Retrains differ from the Original in their recipe: {'; '.join(differences)}."
        )
    unknown = [f"the {name}" if " " not in name else name for name in recipes if not recipes[name]]
    if any(subject.run is not None and not recipe_of(subject) for subject in unlearned):
        unknown.insert(0, "the audited model" + "s" * (len(unlearned) > 1))
    if unknown and retrains:
        *others, last = unknown
        names = f"{', '.join(others)} and {last}" if others else last
        notes.append(
            f"The recipe of {names} (epochs, learning rate, augmentation) is not on record. "
            "Whether the Retrains have the recipe of the Original was therefore not checked: if "
            "they have another one, a difference from them may come from it and not from the "
            "forgotten rows, and it may also hide one."
        )
    return notes


def _gap(
    unlearned: Sequence[Subject], retrains: Sequence[Subject], split: Split, margin: float
) -> Gap | None:
    """The average gap of the models to the Retrains, and how large it may be."""
    if not retrains:
        return None
    models, exact = ([s.measure(split) for s in group] for group in (unlearned, retrains))
    points = float(np.mean([average_gap(a, b) for a in models for b in exact]))
    pairs = [average_gap(a, b) for a, b in permutations(exact, 2)]
    floor = float(np.mean(pairs)) if pairs else None
    rows = len(unlearned[0].labels("forget"))
    return Gap(points, floor, allowed_gap(floor, margin, rows))


def _rest(result: Audit, margin: float) -> None:
    """Compute all other metrics into *result*."""
    tables, untrained = result.measures, SharedOutputs(with_features=False)
    for subject in result.subjects:
        tables[subject.name] = describe(subject, result.split, untrained)

    def distance(a: Subject, b: Subject) -> dict[str, Any]:
        return compare(a, b, tables[a.name], tables[b.name])

    exact, named = result.retrains, {s.name: s for s in result.unlearned}
    if result.original:
        named["Original"] = result.original
    if exact:
        for name, subject in named.items():
            result.distances[name] = average([distance(subject, r) for r in exact])
        groups = (result.unlearned, exact)
        of_models, of_exact = ([tables[s.name] for s in g] for g in groups)
        seeds = [[result.runs[s.name].record.seed for s in g] for g in groups]
        result.seeds = over_seeds(of_models, of_exact, (seeds[0], seeds[1]), margin=margin)
        result.optional |= ensembles(result.unlearned, exact)
    if len(exact) > 1:
        result.distances["floor"] = average([distance(a, b) for a, b in permutations(exact, 2)])
    everyone = {**named, **{s.name: s for s in exact}}
    result.semantics = semantics(everyone, exact, result.data.classes)
