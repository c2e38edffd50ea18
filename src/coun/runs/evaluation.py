"""What a model still knows, and how far it is from Retrain."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from coun.data import Data, Split
from coun.data.subsets import stratified
from coun.errors import CounError, counted, require_type
from coun.metrics import GAP_METRICS, Measurements, catalogue
from coun.metrics.registry import any_needs
from coun.models import Classifier, Outputs
from coun.runs.chain import measured
from coun.runs.comparison import check_comparable
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
NEAR_CHANCE = LARGE_FALL = 5.0  # points of test accuracy
POOR_RETRAIN = 10.0  # points: a Retrain differs from the model before by other weights and rows
MEMBER_SEED = 0  # of the attack's stratified members: fixed, so two models face one attack


@dataclass(eq=False)
class Predictions:
    """Outputs and labels of one model on the retain, forget and test rows."""

    outputs: dict[str, Outputs]
    labels: dict[str, Tensor]


def predictions(
    classifier: Classifier,
    data: Data,
    split: Split | None,
    *,
    progress: bool = False,
    with_features: bool = True,
    title: str = "evaluate",
    shared: SharedOutputs | None = None,
) -> Predictions:
    """Run the model over every part once; without a split all training rows are retained.

    "forget" holds all rows that must be forgotten by now, those of earlier requests included,
    as far as the data still has them; the part is left out where it has none. The test part
    leaves out rows that the request names. Without features, those of the outputs are (N, 0).
    Outputs that *shared* has are not computed again; it then decides about features as well.

    Args:
        classifier: the model.
        data, split: the rows, and which of them were to be forgotten.
        progress, title: whether to show a progress bar on standard error, and what it says.
        with_features: whether to keep the inputs of the last layer as well.
        shared: outputs that other functions computed or will read.

    Returns: outputs and labels by part: "retain", "forget" and "test".
    """
    shared = shared or SharedOutputs(with_features=with_features)
    rows: dict[str, Tensor | None] = {"test": None, "retain": None}
    if split is not None:
        rows["retain"] = split.rows(data, "retain")
        if len(forgotten := split.rows(data, "forgotten")):
            rows["forget"] = forgotten
        if len(split.held_out):
            rows["test"] = split.test_rows(data)
    outputs, labels = {}, {}
    for name, places in rows.items():
        part: Literal["train", "test"] = "test" if name == "test" else "train"
        outputs[name] = shared.predict(
            classifier, data, part, places, progress=progress, title=f"{title}: {name}"
        )
        of_part = (data.test if name == "test" else data.train).labels.cpu()
        labels[name] = of_part if places is None else of_part[places]
    return Predictions(outputs, labels)


def require_finite(predicted: Predictions, where: str) -> None:
    """Refuse outputs that are no numbers, as where logits grew beyond float32.

    Args: where: what the message calls the model.
    """
    for name, answers in predicted.outputs.items():
        wrong = ~torch.isfinite(answers.logits).all(1) | ~torch.isfinite(answers.features).all(1)
        if wrong.any():
            raise CounError(
                f"{where} gives no finite numbers for {int(wrong.sum()):,} of {len(wrong):,} "
                f"{name} rows; expected numbers, so it cannot be measured"
            )


def measurements(
    predictions: Predictions,
    split: Split | None,
    *,
    cost: Mapping[str, float] | None = None,
    retrain: Measurements | None = None,
    start: Outputs | None = None,
) -> Measurements:
    """Give every registered metric what it needs of one model's *predictions*.

    When a whole class was forgotten, the test part leaves that class out, for the test
    accuracy and for attacks alike, and `forgotten_test` holds it. The attacks' members are a
    seeded, stratified subset of the retain set, as many as there are test samples; where the
    retain set is the smaller one, the test samples are cut to its size.

    Args:
        cost: the cost in the run's record.
        retrain: of a Retrain of the same request, measured in the same way.
        start: what the model before unlearning predicts for the same test rows.

    Returns: the metrics by name, each computed when it is first read.

    Source: CoUn, section 4.1. SalUn and Sparse take the *first* retain rows for members,
        which covers a few classes only where files are sorted by class.
    """
    inputs: dict[str, Any] = {} if cost is None else {"cost": cost}

    def add(name: str, part: str, rows: Tensor | None = None) -> None:
        values = {**predictions.outputs[part]._asdict(), "labels": predictions.labels[part]}
        for kind, value in values.items():
            inputs[f"{name}.{kind}"] = value if rows is None else value[rows]

    for part in predictions.labels.keys() - {"test"}:
        add(part, part)
    test = predictions.labels["test"]
    if split is None or not split.forgotten_classes:
        rows = None
        others = torch.arange(len(test))
    else:
        forgotten_class = torch.isin(test, torch.tensor(split.forgotten_classes))
        rows = others = (~forgotten_class).nonzero().flatten()
        add("forgotten_test", "test", forgotten_class.nonzero().flatten())
    add("test", "test", rows)
    if split is not None:
        retain = predictions.labels["retain"]
        size = min(len(retain), len(others))
        add("members", "retain", stratified(retain, size, MEMBER_SEED))
        add("others", "test", others[stratified(test[others], size, MEMBER_SEED)])
    forgotten = predictions.labels.get("forget")
    if start is not None and forgotten is not None and torch.isin(test[others], forgotten).any():
        inputs["start.test.logits"] = start.logits[others]
        inputs["start.test.labels"] = test[others]
    return Measurements(inputs, retrain=retrain)


def measure(predictions: Predictions, split: Split | None) -> dict[str, Any]:
    """Compute all metrics that need one model only, from its *predictions*, as `evaluate`.

    Returns: the values by name, None for unlearn accuracy and MIA efficacy without a *split*;
        and `counts`, the numbers of rows.

    >>> import coun
    >>> data = coun.load("digits", limit=50)
    >>> run, split = coun.train(data, "mlp", epochs=1), coun.Split.random(data, 0.1)
    >>> answers = predictions(run.classifier, data, split)  # one pass over the data
    >>> answers.outputs["forget"].logits.shape, measure(answers, split)["counts"]["forget"]
    (torch.Size([5, 10]), 5)
    """
    return _as_json(measurements(predictions, split), predictions)


def _as_json(measurements: Measurements, predictions: Predictions) -> dict[str, Any]:
    values, left_out = measurements.values_by_name()
    counts = {name: len(labels) for name, labels in predictions.labels.items()}
    if "members.labels" in measurements.inputs:
        size = len(measurements.inputs["members.labels"])
        counts |= {"mia_members": size, "mia_non_members": size}
    result = {**dict.fromkeys(GAP_METRICS), **values, "counts": counts}
    return {**result, "metrics_left_out": left_out} if left_out else result


def evaluate(
    run: Run | str | Path,
    *,
    against: Retrains | None = None,
    split: Split | None = None,
    data: Data | str | None = None,
    build: Callable[[], nn.Module] | nn.Module | None = None,
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
        trust: as for `Run.open`, for all folders.
        progress: show a progress bar on standard error.
        shared: outputs that other functions computed or will read as well (`SharedOutputs`).

    Returns: every metric of `coun.metrics.catalogue` whose inputs are at hand, by name, and
        the fields of `coun.runs.Metrics`: `start` and `change` for an unlearned run, `retrain`,
        `gap`, `average_gap` and `floor` against Retrains, `not_measured` where rows are deleted.

    Raises: CounError if the two runs are of other data or forget other rows.

    >>> import coun
    >>> run = coun.train(coun.load("digits", limit=50), "mlp", epochs=1)
    >>> evaluate(run)["counts"]
    {'test': 359, 'retain': 50}
    """
    if not isinstance(run, Run):
        # Rows that the request of the Retrain or of the caller names may be deleted.
        named = split is not None or against is not None
        run = Run.open(run, data=data, build=build, allow_missing=named, trust=trust)
    build = build or run.build
    exact = [
        retrain
        if isinstance(retrain, Run)
        else Run.open(retrain, data=run.data, build=build, allow_missing=True, trust=trust)
        for retrain in _listed(against)
    ]
    split = measured(split, run.split, run.data) or (exact[0].split if exact else None)
    for retrain in exact:
        check_comparable(retrain, run.data, split, as_retrain=True)
    if split is not None:
        split.check(run.data)
    predict_parts = partial(
        predictions,
        data=run.data,
        split=split,
        progress=progress,
        with_features=any_needs("features"),
    )
    predicted = predict_parts(run.classifier, shared=shared)
    require_finite(predicted, run.where)
    begun = run.opened_start() if run.record.kind == "unlearned" else None
    of_start = shared or SharedOutputs(with_features=any_needs("features"))
    unseen = None if begun is None else _on_test(begun, run.data, split, progress, of_start)
    values = measurements(predicted, split, cost=run.record["cost"], start=unseen)
    result = _as_json(values, predicted)
    result["split_sha256"] = split.digest if split else None
    if split is not None and (missing := len(split.missing(run.data))):
        result["not_measured"] = _reasons(missing, len(split.forget))
    if exact:
        result |= _nearness(values, exact, run.data, split, partial(predict_parts, shared=shared))
    path = None if run.folder is None else metrics_path(run.folder, split, run.split)
    predict_start = partial(predict_parts, shared=of_start)
    result = _with_start(result, run, begun, split, path, predict_start)
    if warnings := _warnings(run, result):
        result["warnings"] = warnings
    metrics = Metrics.model_validate({"version": VERSION, **result})
    values_by_name = metrics.to_json()
    if path is not None and (note := write_metrics(path, metrics)):
        values_by_name["warnings"] = [*values_by_name.get("warnings", []), note]
    return values_by_name


def _with_start(
    result: dict[str, Any],
    run: Run,
    begun: Run | None,
    split: Split | None,
    path: Path | None,
    predict_start: Callable[[Classifier], Predictions],
) -> dict[str, Any]:
    """Return *result* with the metrics of the model before unlearning, and what changed since.

    Args:
        begun: that model, or None where it is gone; what the file at *path* says of it then counts.
    """
    stored = None
    with contextlib.suppress(CounError):  # `write_metrics` says what is wrong with the file
        stored = read_metrics(path) if path is not None else None
    if begun is None and stored is not None and stored.counts == result["counts"]:
        result = {**_of_start(stored), **result}
    start = _start(run, begun, split, result["counts"], stored, predict_start)
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
        )
        for retrain in retrains
    ]
    paths = [retrain.folder or retrain.weights_file for retrain in retrains]
    named = [str(path) for path in paths if path is not None]
    against = next(iter(named), None) if len(paths) == 1 else named
    return {**nearness(values, of_retrains), "against": against}


def _reasons(missing: int, total: int) -> dict[str, str]:
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


def _of_start(stored: Metrics) -> dict[str, Any]:
    """The *stored* metrics that need the model before unlearning, which may be gone by now."""
    names = [
        name
        for name, metric in catalogue().items()
        if any(need.startswith("start.") for need in metric.needs)
    ]
    return {n: value for n, value in (stored.model_extra or {}).items() if n in names}


def _start(
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
    if recorded is not None and recorded.counts == counts:
        return recorded
    if start is None:
        return recorded
    predicted = predict_parts(start.classifier)
    values, _ = measurements(predicted, split).values_by_name()
    numbers = {name: value for name, value in values.items() if isinstance(value, float)}
    return StartRecord(weights_sha256=parent.weights_sha256, counts=counts, metrics=numbers)


def _warnings(run: Run, result: Mapping[str, Any]) -> list[str]:
    """What to say loudly: few rows, a start or a Retrain without skill, a loss of test accuracy."""
    rows = result.get("counts", {}).get("forget", 0)
    warnings = []
    if 0 < rows < FEW_ROWS and result.get("average_gap") is not None:
        warnings.append(
            f"{counted(rows, 'forgotten row')} could be measured, and each is {100 / rows:.0f} "
            "points of UA and of MIA, so the average gap says little; compare with the floor of "
            "several Retrains"
        )
    start: StartRecord | None = result.get("start")
    before = start.metrics.get("test_accuracy") if start else None
    after = result["test_accuracy"]
    if before is None or after is None:
        return warnings
    chance = 100 / len(run.data.classes)
    if before < chance + NEAR_CHANCE:
        warnings.append(
            f"the model before unlearning has a test accuracy of {before:.1f}%, near chance "
            f"({chance:.1f}%); check that its classes, {run.data.noun}s and preprocessing are "
            "those of this data, or train it longer"
        )
    elif before - after > LARGE_FALL:
        warnings.append(
            f"test accuracy fell by {before - after:.1f} points, from {before:.1f}% to "
            f"{after:.1f}%; try a lower lr, other epochs, another method, or retrain"
        )
    exact = (result.get("retrain") or {}).get("test_accuracy")
    if exact is not None and before - exact > POOR_RETRAIN:
        warnings.append(
            f"the Retrain has a test accuracy of {exact:.1f}%, {before - exact:.1f} points below "
            "that of the model before unlearning; it was trained too little or otherwise than that "
            "model, so the gaps to it say little"
        )
    return warnings
