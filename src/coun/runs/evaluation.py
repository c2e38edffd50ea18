"""What a model still knows, and how far it is from Retrain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from coun.data import Data, Examples, Split
from coun.data.examples import stratified
from coun.engine import predict
from coun.errors import CounError
from coun.files import write_json
from coun.metrics import GAP_METRICS, Measurements, average_gap, catalogue
from coun.models import Classifier, Outputs
from coun.runs.folder import METRICS
from coun.runs.run import Run

MEMBER_SEED = 0  # of the attack's stratified members: fixed, so two models face one attack


@dataclass(eq=False)
class Predictions:
    """Outputs and labels of one model on the retain, forget and test rows."""

    outputs: dict[str, Outputs]
    labels: dict[str, Tensor]


def predictions(
    classifier: Classifier, data: Data, split: Split | None, *, progress: bool = False
) -> Predictions:
    """Run the model over every part once; without a split all training rows are retained.

    "forget" holds all rows that must be forgotten by now, those of earlier requests included;
    the test part leaves out rows that the request names.
    """
    parts: dict[str, Examples] = {"test": data.test, "retain": data.train}
    if split is not None:
        parts["retain"] = data.train.take(split.rows(data, "retain"))
        parts["forget"] = data.train.take(split.rows(data, "forgotten"))
        if len(split.held_out):
            parts["test"] = data.test.take(split.test_rows(data))
    outputs = {
        name: predict(classifier, data, part, progress=progress, title=f"evaluate: {name}")
        for name, part in parts.items()
    }
    return Predictions(outputs, {name: part.labels.cpu() for name, part in parts.items()})


def measurements(
    predictions: Predictions,
    split: Split | None,
    *,
    cost: Mapping[str, float] | None = None,
    retrain: Measurements | None = None,
) -> Measurements:
    """Give every registered metric what it needs of one model's *predictions*.

    When a whole class was forgotten, the test part leaves that class out, for the test
    accuracy and for attacks alike, and `forgotten_test` holds it. The attacks' members are a
    seeded, stratified subset of the retain set, as many as there are test samples; where the
    retain set is the smaller one, the test samples are cut to its size.

    Args:
        cost: the cost in the run's record.
        retrain: of a Retrain of the same request, measured in the same way.

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
        gone = torch.isin(test, torch.tensor(split.forgotten_classes))
        rows = others = (~gone).nonzero().flatten()
        add("forgotten_test", "test", gone.nonzero().flatten())
    add("test", "test", rows)
    if split is not None:
        retain = predictions.labels["retain"]
        size = min(len(retain), len(others))
        add("members", "retain", stratified(retain, size, MEMBER_SEED))
        add("others", "test", others[stratified(test[others], size, MEMBER_SEED)])
    return Measurements(inputs, retrain=retrain)


def measure(predictions: Predictions, split: Split | None) -> dict[str, Any]:
    """Compute all metrics that need one model only, from its *predictions*, as `evaluate`.

    Returns: the values by name, None for unlearn accuracy and MIA efficacy without a *split*;
        and `counts`, the numbers of rows.
    """
    return _as_json(measurements(predictions, split), predictions)


def _as_json(measured: Measurements, predictions: Predictions) -> dict[str, Any]:
    values, left_out = measured.values_by_name()
    counts = {name: len(labels) for name, labels in predictions.labels.items()}
    if "members.labels" in measured.inputs:
        size = len(measured.inputs["members.labels"])
        counts |= {"mia_members": size, "mia_non_members": size}
    result = {**dict.fromkeys(GAP_METRICS), **values, "counts": counts}
    return {**result, "metrics_left_out": left_out} if left_out else result


def evaluate(
    run: Run | str | Path,
    *,
    against: Run | str | Path | None = None,
    split: Split | None = None,
    data: Data | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """Measure *run*, and its average gap to the Retrain *against*; write `metrics.json`.

    Args:
        run, against: runs or their folders; both are measured on the same rows.
        split: forget rows, by default those on record of *run*, else of *against*.

    Returns: every metric of `coun.metrics.catalogue` whose inputs are at hand, by name; None
        for unlearn accuracy and MIA efficacy without forget rows. Against a Retrain also
        `retrain`, its values of the metrics that aim at it, and `gap`, the differences (model
        minus Retrain) on the four metrics of the average gap.
        `metrics_left_out` says which plug-ins failed, and why.

    Raises: CounError if the two runs are of other data or forget other rows.
    """
    run = Run.open(run, data=data) if isinstance(run, (str, Path)) else run
    exact = None
    if against is not None:
        exact = Run.open(against, data=run.data) if isinstance(against, (str, Path)) else against
        if exact.data.fingerprint != run.data.fingerprint:
            raise CounError("the Retrain is of other data; expected the same fingerprint")
    split = split or run.split or (exact.split if exact else None)
    if exact is not None and split is not None:
        if exact.split is None:
            raise CounError(
                f"{_where(exact)} was trained on everything; expected a Retrain (coun train with "
                "the same forget options)"
            )
        if exact.split.digest != split.digest:
            raise CounError(
                f"{_where(exact)} forgets {len(exact.split.forget)} rows "
                f"({exact.split.digest[:12]}), the model under test {len(split.forget)} "
                f"({split.digest[:12]}); expected the same split"
            )
    found = predictions(run.classifier, run.data, split, progress=progress)
    retrain = None
    if exact is not None:
        of_retrain = predictions(exact.classifier, run.data, split, progress=progress)
        retrain = measurements(of_retrain, split, cost=exact.record["cost"])
    measured = measurements(found, split, cost=run.record["cost"], retrain=retrain)
    result = _as_json(measured, found)
    result["split_sha256"] = split.digest if split else None
    if exact is not None and retrain is not None:
        result["average_gap"] = average_gap(result, retrain)
        result["gap"] = {name: result[name] - retrain[name] for name in GAP_METRICS}
        aims = [n for n, m in catalogue().items() if m.direction == "nearer" and n in retrain]
        result["retrain"] = {n: retrain[n] for n in aims if isinstance(result.get(n), float)}
        result["against"] = str(exact.folder) if exact.folder else None
    if run.folder is not None:
        write_json(run.folder / METRICS, result)
    return result


def _where(run: Run) -> str:
    return str(run.folder) if run.folder else "the Retrain"
