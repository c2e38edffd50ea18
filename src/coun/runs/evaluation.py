"""What a model still knows, and how far it is from Retrain."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from coun.data import Data, Split
from coun.errors import CounError, counted, require_type
from coun.metrics import Measurements, Metric, catalogue
from coun.metrics.registry import any_needs, find, with_further
from coun.models import Classifier, Outputs
from coun.runs.chain import measured
from coun.runs.comparison import check_comparable, refuse_same_weights
from coun.runs.measuring import (
    Predictions,
    measurements,
    measurements_to_json,
    predictions,
    require_finite,
)
from coun.runs.metrics_record import (
    VERSION,
    Metrics,
    StartRecord,
    metrics_path,
    read_metrics,
    write_metrics,
)
from coun.runs.nearness import nearness
from coun.runs.run import Run
from coun.runs.shared_outputs import SharedOutputs
from coun.trust import Trust

Retrains = Run | str | Path | Sequence[Run | str | Path]

FEW_ROWS = 10  # of which one is more than ten points
NEAR_CHANCE = LARGE_FALL = 5.0  # points of accuracy
LARGE_JUMP, NEARLY_EQUAL = 25.0, 0.02  # points of MIA; nats of JS, where strangers have 0.69
FITS = 90.0  # percent of its own training rows that a model must answer rightly
UNLIKE_TEST = 10.0  # points by which a model errs less on forgotten rows than on test rows
HARDLY = 1.0  # points of UA and of MIA
POOR_RETRAIN = 10.0  # points: a Retrain differs from the model before by other weights and rows


def evaluate(
    run: Run | str | Path,
    *,
    against: Retrains | None = None,
    split: Split | None = None,
    data: Data | str | None = None,
    build: Callable[[], nn.Module] | nn.Module | None = None,
    metrics: Sequence[str | Metric] = (),
    trust: Trust = False,
    progress: bool = False,
    shared: SharedOutputs | None = None,
) -> dict[str, Any]:
    """Measure *run*, and how near it is to the Retrain *against*; write `metrics.json`.

    Metrics of a request other than the recorded one get a file of their own. Nothing is
    overwritten: if a file holds other metrics, these get another file, and `warnings` names it.
    `warnings` also says if they could not be saved, for example in a read-only folder.

    Args:
        run, against: runs or their folders; all are measured on the same rows. Where *against*
            is a list of several Retrains, comparisons are means over them, and `floor` is what
            the same comparisons give between the Retrains.
        split: forget rows, by default those on record of *run*, else of *against*. What
            *run* has forgotten already is added to them.
        data, build: as for `Run.open`, where *run* is a folder.
        metrics: further metrics: those that are computed on request only, by name, and your own,
            as `./file.py:NAME`, `package.module:NAME` or a `Metric`.
        trust: as for `Run.open`, for all folders.
        progress: show a progress bar on standard error.
        shared: outputs that other functions computed or will read as well (`SharedOutputs`).

    Returns: every metric of `coun.metrics.catalogue` whose inputs are at hand, by name, and
        the fields of `coun.runs.Metrics`: `start` and `change` for an unlearned run, `retrain`,
        `gap`, `average_gap` and `floor` against Retrains, `not_measured` where rows are deleted.

    Raises: CounError if the two runs are of other data or forget other rows, or for an unknown
        metric.

    >>> import coun
    >>> run = coun.train(coun.load("digits", limit=50), "mlp", epochs=1)
    >>> evaluate(run)["counts"]
    {'test': 359, 'retain': 50}
    """
    further = [find(m, trust=True) if isinstance(m, str) else m for m in metrics]
    table = with_further(further)
    with_features = any_needs("features", table)
    if not isinstance(run, Run):
        # Rows that the request of the Retrain or of the caller names may be deleted.
        named = split is not None or against is not None
        run = Run.open(run, data=data, build=build, allow_missing=named, trust=trust)
    retrains = _opened_retrains(against, run, build or run.build, trust)
    split = _measured_split(split, run, retrains)
    predict_parts = partial(
        predictions,
        data=run.data,
        split=split,
        progress=progress,
        with_features=with_features,
        shared=shared,
    )
    predicted = predict_parts(run.classifier)
    require_finite(predicted, run.where)
    start_run = run.opened_start() if run.record.kind == "unlearned" else None
    of_start = shared or SharedOutputs(with_features=with_features)
    start_on_test = (
        None if start_run is None else _on_test(start_run, run.data, split, progress, of_start)
    )
    values = measurements(
        predicted, split, cost=run.record["cost"], start=start_on_test, metrics=table, run=run
    )
    result = measurements_to_json(values, predicted)
    result["split_sha256"] = split.digest if split else None
    if split is not None and (missing := len(split.missing(run.data))):
        result["not_measured"] = _not_measured(missing, len(split.forget))
    if retrains:
        result |= _nearness(values, retrains, run.data, split, predict_parts)
    path = None if run.folder is None else metrics_path(run.folder, split, run.split)
    predict_start = partial(predict_parts, shared=of_start)
    result = _with_start(result, run, start_run, split, path, predict_start)
    result = _with_reasons(result, further, values)
    if warnings := _warnings(run, split, result):
        result["warnings"] = warnings
    content = Metrics.model_validate({"version": VERSION, **result})
    values_by_name = content.to_json()
    if path is not None and (note := write_metrics(path, content)):
        values_by_name["warnings"] = [*values_by_name.get("warnings", []), note]
    return values_by_name


def _opened_retrains(
    against: Retrains | None,
    run: Run,
    build: Callable[[], nn.Module] | nn.Module | None,
    trust: Trust,
) -> list[Run]:
    """The Retrains, opened on the data of *run*."""
    return [
        retrain
        if isinstance(retrain, Run)
        else Run.open(retrain, data=run.data, build=build, allow_missing=True, trust=trust)
        for retrain in _listed(against)
    ]


def _measured_split(split: Split | None, run: Run, retrains: Sequence[Run]) -> Split | None:
    """The rows that are measured: of *split*, else on record of *run*, else of a Retrain.

    Raises: CounError if a Retrain is of other data, saw the rows or is given twice.
    """
    split = measured(split, run.split, run.data) or (retrains[0].split if retrains else None)
    for retrain in retrains:
        check_comparable(retrain, run.data, split, as_retrain=True)
    refuse_same_weights(retrains)
    if split is not None:
        split.check(run.data)
    return split


def _with_reasons(
    result: dict[str, Any], further: Sequence[Metric], values: Measurements
) -> dict[str, Any]:
    """Say in *result* why *further* metrics have no value, or none that is a finite number."""
    reasons = dict(result.get("metrics_left_out", {}))
    for metric in further:
        value = result.get(metric.name)
        if isinstance(value, float) and not math.isfinite(value):
            reasons[metric.name] = f"its value is {value}"
        elif value is None and metric.name not in reasons:
            missing = [need for need in metric.needs if not values.has_input(need)]
            reasons[metric.name] = f"it needs {', '.join(missing)}, which is not at hand"
    numbers = {name: value for name, value in result.items() if name not in reasons}
    return {**numbers, "metrics_left_out": reasons} if reasons else result


def _with_start(
    result: dict[str, Any],
    run: Run,
    start_run: Run | None,
    split: Split | None,
    path: Path | None,
    predict_start: Callable[[Classifier], Predictions],
) -> dict[str, Any]:
    """Return *result* with the metrics of the model before unlearning, and what changed since.

    Args:
        start_run: that model, or None where it is gone; what the file at *path* says then counts.
    """
    stored = None
    with contextlib.suppress(CounError):  # `write_metrics` says what is wrong with the file
        stored = read_metrics(path) if path is not None else None
    if start_run is None and stored is not None and stored.counts == result["counts"]:
        result = {**_stored_of_start(stored), **result}
    start = _start_record(run, start_run, split, result["counts"], stored, predict_start)
    if start is None:
        return result
    change = {
        name: result[name] - before
        for name, before in start.metrics.items()
        if isinstance(result.get(name), float)
    }
    return {**result, "start": start, "change": change}


def _listed(against: Retrains | None) -> Sequence[Run | str | Path]:
    if against is None:
        return ()
    if isinstance(against, Run | str | Path):
        return (against,)
    require_type(against, Iterable, "against", "a Retrain, its folder, or several of them")
    return against


def _nearness(
    values: Measurements,
    retrains: Sequence[Run],
    data: Data,
    split: Split | None,
    predict_parts: Callable[..., Predictions],
) -> dict[str, Any]:
    """The comparison of *values* with *retrains*, and which these are."""
    of_retrains = [
        measurements(
            predict_parts(retrain.classifier, data=replace(data, views=retrain.data.views)),
            split,
            cost=retrain.record["cost"],
            metrics=values.metrics,
            run=retrain,
        )
        for retrain in retrains
    ]
    paths = [retrain.folder or retrain.weights_file for retrain in retrains]
    named = [str(path) for path in paths if path is not None]
    against = next(iter(named), None) if len(paths) == 1 else named
    return {**nearness(values, of_retrains), "against": against}


def _not_measured(missing: int, total: int) -> dict[str, str]:
    """Say why measures of the forgotten rows are missing, or which rows they are of."""
    if missing == total:
        reason = f"all {total:,} rows to forget are deleted from the data"
        return dict.fromkeys(("unlearn_accuracy", "mia_efficacy", "average_gap"), reason)
    reason = f"measured without the {missing:,} of {total:,} rows to forget that are deleted"
    return dict.fromkeys(("unlearn_accuracy", "mia_efficacy"), reason)


def _on_test(
    start: Run, data: Data, split: Split | None, progress: bool, shared: SharedOutputs
) -> Outputs:
    """What the model before unlearning predicts for the test rows that are measured."""
    rows = None if split is None else split.test_rows(data)
    title = "evaluate: test, before"
    return shared.predict(start.classifier, data, "test", rows, progress=progress, title=title)


def _stored_of_start(stored: Metrics) -> dict[str, Any]:
    """The *stored* metrics that need the model before unlearning, which may be gone by now."""
    names = [
        name
        for name, metric in catalogue().items()
        if any(need.startswith("start.") for need in metric.needs)
    ]
    return {n: value for n, value in (stored.model_extra or {}).items() if n in names}


def _start_record(
    run: Run,
    start: Run | None,
    split: Split | None,
    counts: dict[str, int],
    stored: Metrics | None,
    predict_parts: Callable[[Classifier], Predictions],
) -> StartRecord | None:
    """The metrics of *start*, from which *run* started, measured once and then kept."""
    parent = run.record.parent
    if run.record.kind != "unlearned" or parent is None:
        return None
    recorded = stored.start if stored else None
    if recorded is not None and recorded.weights_sha256 != parent.weights_sha256:
        recorded = None
    if start is None or (recorded is not None and recorded.counts == counts):
        return recorded
    predicted = predict_parts(start.classifier)
    values, _ = measurements(predicted, split).values_by_name()
    numbers = {name: value for name, value in values.items() if isinstance(value, float)}
    return StartRecord(weights_sha256=parent.weights_sha256, counts=counts, metrics=numbers)


def _warnings(run: Run, split: Split | None, result: Mapping[str, Any]) -> list[str]:
    """What to say loudly: few rows, a start or a Retrain that learned little, harm, no effect."""
    rows = result.get("counts", {}).get("forget", 0)
    warnings = []
    if 0 < rows < FEW_ROWS and result.get("average_gap") is not None:
        warnings.append(
            f"{counted(rows, 'forgotten row')} could be measured, and each is {100 / rows:.3g} "
            "points of UA and of MIA, so the average gap says little; compare with the floor of "
            "several Retrains"
        )
    elif jump := _attack_jumps(result):
        warnings.append(jump)
    start: StartRecord | None = result.get("start")
    before = start.metrics.get("test_accuracy") if start else None
    if start is None or before is None or result["test_accuracy"] is None:
        return warnings
    chance = 100 / len(run.data.classes)
    if before < chance + NEAR_CHANCE:
        warnings.append(
            f"the model before unlearning has a test accuracy of {before:.1f}%, near chance "
            f"({chance:.1f}%); check that its classes, {run.data.noun}s and preprocessing are "
            "those of this data, or train it longer"
        )
    else:
        learned = start.metrics.get("retain_accuracy")
        if learned is not None and learned < FITS:
            warnings.append(
                f"the model before unlearning classifies only {learned:.1f}% of the retained rows "
                "correctly; a model that has not learned its training rows has little to forget, "
                "so these numbers say little about forgetting; train it longer"
            )
        warnings += _falls(start.metrics, result)
        if left := _names_left(run.data, split, result):
            warnings.append(left)
        elif unmoved := _unmoved(start.metrics, result):
            warnings.append(unmoved)
    exact = (result.get("retrain") or {}).get("test_accuracy")
    if exact is not None and before - exact > POOR_RETRAIN:
        warnings.append(
            f"the Retrain has a test accuracy of {exact:.1f}%, {before - exact:.1f} points below "
            "that of the model before unlearning; it was trained too little or otherwise than that "
            "model, so the gaps to it say little"
        )
    return warnings


def _attack_jumps(result: Mapping[str, Any]) -> str:
    """Say that MIA alone is far from Retrain's, by differences too small to matter; else empty."""
    apart = abs((result.get("gap") or {}).get("mia_efficacy", 0.0))
    js = result.get("js_to_retrain")
    if js is None or js > NEARLY_EQUAL or apart < LARGE_JUMP:
        return ""
    return (
        f"MIA is {apart:.0f} points from the Retrain's although both give the forgotten rows "
        f"nearly equal probabilities (JS {js:.3f}): most rows are so sure that the attack decides "
        f"by the last digits; MIA adds {apart / len(result['gap']):.0f} points to the average gap, "
        "so compare row agreement and JS"
    )


def _falls(before: Mapping[str, float], after: Mapping[str, Any]) -> list[str]:
    """Say which accuracies fell by much, as retain accuracy does where BatchNorm is upset."""
    falls = []
    for name in ("test_accuracy", "retain_accuracy"):
        old, new = before.get(name), after.get(name)
        if old is not None and new is not None and old - new > LARGE_FALL:
            falls.append(
                f"{name.replace('_', ' ')} fell by {old - new:.1f} points, from {old:.1f}% to "
                f"{new:.1f}%; try a lower lr, other epochs, another method, or retrain"
            )
    return falls


def _names_left(data: Data, split: Split | None, after: Mapping[str, Any]) -> str:
    """Say that rows of classes that are forgotten whole are still given their own; empty if not."""
    wrong = after.get("unlearn_accuracy")
    if split is None or wrong is None or {kind for kind, _ in split.parts(data)} != {"class"}:
        return ""
    if wrong > 100 - LARGE_FALL:
        return ""
    return (
        f"{100 - wrong:.1f}% of the rows of classes that are forgotten whole are still given the "
        "name of their class, which a Retrain never gives; try more epochs, another method, or "
        "retrain"
    )


def _unmoved(before: Mapping[str, float], after: Mapping[str, Any]) -> str:
    """Say that forgotten rows are answered as before, and unlike test rows; empty if not so."""
    names = ("unlearn_accuracy", "mia_efficacy")
    values = [(before.get(name), after.get(name)) for name in names]
    if any(old is None or new is None or abs(new - old) > HARDLY for old, new in values):
        return ""
    wrong, wrong_of_test = after["unlearn_accuracy"], 100 - after["test_accuracy"]
    if wrong_of_test - wrong < UNLIKE_TEST:
        return ""
    return (
        f"{wrong:.1f}% of the forgotten rows are classified wrongly, as before, and "
        f"{wrong_of_test:.1f}% of the test rows: unless they are easier, they are hardly "
        "forgotten; try a higher lr, more epochs, another method, or retrain"
    )
