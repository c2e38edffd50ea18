"""What one model answers for every part of the data, and the metrics of these answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from coun.data import Data, Split
from coun.data.subsets import stratified
from coun.errors import CounError
from coun.metrics import GAP_METRICS, Measurements, Metric
from coun.models import Classifier, Outputs
from coun.runs.shared_outputs import SharedOutputs

if TYPE_CHECKING:
    from coun.runs.run import Run

MEMBER_SEED = 0  # of the attack's stratified members: fixed, so two models face one attack


@dataclass(eq=False)
class Predictions:
    """What one model answers, and what is true.

    Attributes: outputs, labels: by part: "retain", "forget" and "test".

    >>> import coun
    >>> data = coun.load("digits", limit=60)
    >>> run, split = coun.train(data, "mlp", epochs=1), coun.Split.random(data, 0.2)
    >>> answers = predictions(run.classifier, data, split)
    >>> {part: len(labels) for part, labels in answers.labels.items()}
    {'test': 359, 'retain': 48, 'forget': 12}
    """

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

    >>> import coun
    >>> data = coun.load("digits", limit=50)
    >>> run, split = coun.train(data, "mlp", epochs=1), coun.Split.random(data, 0.1)
    >>> answers = predictions(run.classifier, data, split)
    >>> answers.outputs["forget"].logits.shape, answers.labels["retain"].shape
    (torch.Size([5, 10]), torch.Size([45]))
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
    """Refuse outputs that are not numbers, as where logits grew beyond float32.

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
    metrics: Mapping[str, Metric] | None = None,
    run: Run | None = None,
) -> Measurements:
    """Give every registered metric what it needs of one model's *predictions*.

    When a whole class was forgotten, the test part leaves that class out, for the test
    accuracy and for attacks alike, and `forgotten_test` holds it. The attacks' members are a
    seeded, stratified subset of the retain rows, as many as there are test rows; where the
    retain rows are fewer, the test rows are cut to their number.

    Args:
        cost: the cost in the run's record.
        retrain: of a Retrain of the same request, measured in the same way.
        start: what the model before unlearning predicts for the same test rows.
        metrics: the metrics by name, of which those on request are computed as well; by default
            all that need no request.
        run: the model, for metrics that need it.

    Returns: the metrics by name, each computed when it is first read.

    Source: CoUn, section 4.1. SalUn and Sparse take the *first* retain rows for members,
        which covers a few classes only where files are sorted by class.
    """
    inputs: dict[str, Any] = {} if cost is None else {"cost": cost}
    if metrics is not None:
        inputs |= {"on_request": True, "model": run, "split": split}

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
    return Measurements(inputs, retrain=retrain, metrics=metrics)


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
    return measurements_to_json(measurements(predictions, split), predictions)


def measurements_to_json(measurements: Measurements, predictions: Predictions) -> dict[str, Any]:
    values, left_out = measurements.values_by_name()
    counts = {name: len(labels) for name, labels in predictions.labels.items()}
    if "members.labels" in measurements.inputs:
        size = len(measurements.inputs["members.labels"])
        counts |= {"mia_members": size, "mia_non_members": size}
    result = {**dict.fromkeys(GAP_METRICS), **values, "counts": counts}
    return {**result, "metrics_left_out": left_out} if left_out else result
