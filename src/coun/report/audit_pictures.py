"""The pictures on the page of an audit: losses, curves, predicted classes and features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from coun.attacks import loss, scaled_logit
from coun.attacks.roc_curves import curve
from coun.audit import Audit, Subject
from coun.data.subsets import at_most
from coun.metrics import confusion
from coun.models import Outputs
from coun.report.figures import (
    confusion_differences,
    feature_maps,
    loss_histograms,
    prediction_row,
    roc_curves,
)
from coun.report.picture import Picture
from coun.report.style import method_style
from coun.runs import Predictions

SHOWN = 150  # forgotten rows on a map
MANY = 20  # classes beyond which confusion matrices are not drawn


def pictures(audit: Audit, maps: bool) -> list[Picture]:
    """The pictures of an audit; with *maps* also those of features."""
    subjects = {label(audit.unlearned[0]): audit.unlearned[0]}
    if audit.retrains:
        subjects["Retrain"] = audit.retrains[0]
    if audit.original:
        subjects["Original"] = audit.original
    classes = audit.data.classes
    drawn = [_losses(subjects, exchangeable=not len(audit.family.parts.listed))]
    if all(len(_same_classes(s, "test")[1]) for s in subjects.values()):
        drawn.append(_curves(subjects))
    if audit.split.forgotten_classes and len(classes) <= MANY:
        drawn.append(_predicted_classes(subjects, classes))
    if maps:
        drawn.append(_maps(subjects, classes))
    if audit.retrains and len(classes) <= MANY:
        drawn.append(_confusions(subjects, classes))
    return drawn


def _losses(subjects: Mapping[str, Subject], *, exchangeable: bool) -> Picture:
    losses = {
        name: {part: loss(*_same_classes(subject, part)).numpy() for part in ("forget", "test")}
        for name, subject in subjects.items()
    }
    caption = (
        "Loss of each forgotten row (solid) and of each test row of their classes (dashed); "
        "smaller losses than 0.00001 are in the first bar. "
        + (
            "If a model never saw the forgotten rows, the two outlines are alike; if it remembers "
            "them, the solid one is further left."
            if exchangeable
            else "Listed rows may be unlike test rows by nature, also for a model that never saw "
            "them."
        )
    )
    if "Retrain" in subjects:
        caption += " Compare with Retrain's panel."
    return Picture(loss_histograms(losses), caption)


def _curves(subjects: Mapping[str, Subject]) -> Picture:
    curves = {
        name: curve(*(scaled_logit(*_same_classes(subject, part)) for part in ("forget", "test")))
        for name, subject in subjects.items()
    }
    return Picture(
        roc_curves(curves),
        "Can an attacker who sees the model's certainty tell forgotten rows (members) from test "
        "rows (others)? On the dotted line the attacker guesses."
        + (" The nearer a curve is to Retrain's the better." if "Retrain" in subjects else ""),
    )


def _predicted_classes(subjects: Mapping[str, Subject], classes: Sequence[str]) -> Picture:
    shares = {name: _shares(subject, len(classes)) for name, subject in subjects.items()}
    return Picture(
        prediction_row(shares, classes),
        "Which classes each model gives to the forgotten rows, percent. A model that never "
        "saw a class gives its rows to other classes"
        + ("; compare with Retrain's row." if "Retrain" in subjects else "."),
    )


def _maps(subjects: Mapping[str, Subject], classes: Sequence[str]) -> Picture:
    predictions = {name: _some(subject.predictions) for name, subject in subjects.items()}
    return Picture(
        feature_maps(predictions, classes),
        "How each model arranges rows (t-SNE of its features; each map is on its own "
        "scale). Small dots: retained rows; large marks: forgotten rows; colour and shape: "
        f"the class the model gives them. At most {SHOWN} forgotten rows are drawn.",
    )


def _confusions(subjects: Mapping[str, Subject], classes: Sequence[str]) -> Picture:
    matrices = {
        name: confusion(subject.logits("forget"), subject.labels("forget"))
        for name, subject in subjects.items()
    }
    of_retrain = matrices.pop("Retrain")
    return Picture(
        confusion_differences(matrices, of_retrain, classes),
        "Forgotten rows by true class (down) and predicted class (across): each model "
        "minus Retrain, points. Above 0 on the diagonal: the model knows them better.",
    )


def label(subject: Subject) -> str:
    """As the papers call the method; a Retrain under audit is "Retrain again"."""
    if subject.run is None:
        return subject.name
    record = subject.run.record
    again = {"original": "the Original", "retrain": "Retrain again"}
    return again.get(record.kind) or method_style(record.method.name).label


def _same_classes(subject: Subject, part: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and labels of *part*, of the classes that forgotten rows have."""
    labels = subject.labels(part)
    rows = torch.isin(labels, subject.labels("forget"))
    return subject.logits(part)[rows], labels[rows]


def _shares(subject: Subject, classes: int) -> np.ndarray:
    answers = subject.logits("forget").argmax(1).numpy()
    return 100 * np.bincount(answers, minlength=classes) / len(answers)


def _some(predictions: Predictions) -> Predictions:
    """*predictions* with at most so many forgotten rows that a map stays readable."""
    labels = predictions.labels["forget"]
    rows = at_most(SHOWN, labels)
    outputs = Outputs(*(torch.as_tensor(x)[rows] for x in predictions.outputs["forget"]))
    return Predictions(
        {**predictions.outputs, "forget": outputs},
        {**predictions.labels, "forget": labels[rows]},
    )
