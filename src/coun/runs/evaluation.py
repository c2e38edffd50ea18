"""What a model still knows, and how far it stands from Retrain."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from coun.attacks import features, svc_efficacy
from coun.data import Data, Examples, Split
from coun.data.examples import stratified
from coun.engine import predict
from coun.errors import CounError
from coun.files import write_json
from coun.metrics import GAP_METRICS, accuracy, average_gap, unlearn_accuracy
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
    """Run the model over every part once; without a split all training rows are retained."""
    parts: dict[str, Examples] = {"test": data.test}
    if split is None:
        parts["retain"] = data.train
    else:
        parts |= {role: data.train.take(split.rows(data, role)) for role in ("retain", "forget")}
    outputs = {
        name: predict(classifier, data, part, progress=progress, title=f"evaluate: {name}")
        for name, part in parts.items()
    }
    return Predictions(outputs, {name: part.labels.cpu() for name, part in parts.items()})


def measure(found: Predictions, split: Split | None) -> dict[str, Any]:
    """RA, UA, TA and MIA efficacy, percent, from predictions.

    When a whole class was forgotten, the test accuracy and the attack leave that class out
    of the test set, and its own test accuracy is given apart. The attack's members are a
    seeded, stratified subset of the retain set, as many as there are test samples; where
    the retain set is the smaller one, the test samples are cut to its size. `mia` has the
    attack's efficacy on four features; the fifth, all probabilities, would take a minute
    where there are 100 classes, and the confidence's is *the* efficacy.

    Source: CoUn, section 4.1. SalUn and Sparse take the *first* retain rows for members,
        which covers a few classes only where files are sorted by class.
    """
    logits = {name: out.logits for name, out in found.outputs.items()}
    labels = found.labels
    gone = split.forget_class if split else None
    kept = labels["test"] != gone if gone is not None else torch.ones_like(labels["test"]).bool()
    result: dict[str, Any] = {
        "retain_accuracy": accuracy(logits["retain"], labels["retain"]),
        "unlearn_accuracy": None,
        "test_accuracy": accuracy(logits["test"][kept], labels["test"][kept]),
        "mia_efficacy": None,
        "counts": {name: len(y) for name, y in labels.items()},
    }
    if split is None:
        return result
    result["unlearn_accuracy"] = unlearn_accuracy(logits["forget"], labels["forget"])
    if gone is not None:
        only = ~kept
        result["forgotten_class_test_accuracy"] = accuracy(
            logits["test"][only], labels["test"][only]
        )
    told = {name: features(logits[name], labels[name]) for name in logits}
    members, others = labels["retain"], labels["test"][kept]
    size = min(len(members), len(others))
    chosen = stratified(members, size, MEMBER_SEED)
    held = stratified(others, size, MEMBER_SEED)
    result["mia"] = {
        feature: svc_efficacy(
            told["retain"][feature][chosen], told["test"][feature][kept][held], asked
        )
        for feature, asked in told["forget"].items()
        if feature != "probabilities"
    }
    result["mia_efficacy"] = result["mia"]["confidence"]
    result["counts"]["mia_members"] = result["counts"]["mia_non_members"] = size
    return result


def evaluate(
    run: Run | str | Path,
    *,
    against: Run | str | Path | None = None,
    split: Split | None = None,
    data: Data | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """Measure *run*, and its average gap to the Retrain *against*; writes `metrics.json`.

    Args:
        run, against: runs or their folders; both are measured on the same rows.
        split: forget rows, by default those on record of *run*, else of *against*.

    Returns: retain_accuracy, unlearn_accuracy, test_accuracy, mia_efficacy, mia (percent);
        against a Retrain also average_gap (points), `gap` per metric and `retrain`'s values.

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
    result = measure(predictions(run.classifier, run.data, split, progress=progress), split)
    result["split_sha256"] = split.digest if split else None
    if exact is not None:
        found = predictions(exact.classifier, run.data, split, progress=progress)
        retrain = measure(found, split)
        result["average_gap"] = average_gap(result, retrain)
        result["gap"] = {m: result[m] - retrain[m] for m in GAP_METRICS}
        result["retrain"] = {m: retrain[m] for m in GAP_METRICS}
        result["against"] = str(exact.folder) if exact.folder else None
    if run.folder is not None:
        write_json(run.folder / METRICS, result)
    return result


def _where(run: Run) -> str:
    return str(run.folder) if run.folder else "the Retrain"
