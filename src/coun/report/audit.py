"""The page of an audit: the verdict, the numbers beside Retrain's and the floor, pictures."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from coun.attacks import loss, scaled_logit
from coun.attacks.roc_curves import curve
from coun.audit import Audit, Evidence, Subject
from coun.data.examples import stratified
from coun.metrics import confusion
from coun.models import Outputs
from coun.report.figures import (
    confusion_differences,
    feature_maps,
    loss_histograms,
    prediction_row,
    roc_curves,
)
from coun.report.html import Picture, Section, write_report
from coun.report.style import method_style
from coun.report.table import Grid
from coun.runs import Predictions

SHOWN = 150  # forgotten rows on a map
MANY = 20  # classes beyond which confusion matrices are not drawn
LEGEND = (
    "Retrain: a model trained from scratch without the forgotten rows, the exact answer. Floor: "
    "the mean distance between two Retrains that differ in their seed only; nothing can come "
    "nearer than that, nor needs to. Membership attack: percent of forgotten rows that an attacker "
    "takes for never trained on. Holm: p-values corrected for the number of tests. All numbers, "
    "with many more, are in audit.json."
)


def write_audit(found: Audit, folder: str | Path) -> Path:
    """Write `report.html` and `audit.json` in *folder*; the page's path."""
    path = Path(folder) / "report.html"
    found.save(folder)
    verdict, mine = found.verdict, found.unlearned[0]
    method = ", ".join(dict.fromkeys(_label(s) for s in found.unlearned))
    write_report(
        path,
        f"Audit of {method}",
        f"{_request(found)}. "
        + ("Retrain, trained without them, is the exact answer. " if found.retrains else "")
        + verdict.sentence,
        [_minute(found), _evidence(found), _pictures(found)],
        f"Model {mine.run.record.get('weights_sha256', '')[:12]}, request "
        f"{found.split.digest[:12]}, {datetime.date.today().isoformat()}.",
        headline=verdict.headline,
        legend=LEGEND,
    )
    return path


def _request(found: Audit) -> str:
    forget, total = len(found.split.forget), len(found.data.train)
    kind = found.split.scenario.get("kind")
    what = {
        "random": "drawn at random",
        "class": f"all of class {found.split.scenario.get('name')}",
    }.get(str(kind), "named one by one")
    return f"{forget:,} of {total:,} training images were to be forgotten, {what}"


def _minute(found: Audit) -> Section:
    """This model, Retrain, the floor, the Original: the numbers a reader asks for first."""
    tables, apart = found.measures, found.distances
    groups = {"this model": found.unlearned, "Retrain": found.retrains}
    if found.original:
        groups["Original"] = (found.original,)
    groups = {name: group for name, group in groups.items() if group}
    metrics = (found.seeds or {}).get("metrics", {})
    floor_known = "floor" in apart
    head = ["", *groups, *(["floor"] if floor_known else [])]
    rows = []
    for key, words, turn in (
        ("unlearn_accuracy", "right answers on forgotten rows, %", True),
        ("test_accuracy", "right answers on test rows, %", False),
        ("retain_accuracy", "right answers on retained rows, %", False),
        ("mia_efficacy", "membership attack: forgotten rows taken for unseen, %", False),
    ):
        cells = []
        for group in groups.values():
            value = float(np.mean([tables[s.name][key] for s in group]))
            cells.append(f"{100 - value if turn else value:.1f}")
        rows.append([words, *cells, *([f"±{metrics[key]['floor']:.1f}"] if floor_known else [])])
    for words, pick, digits in (
        ("distance to Retrain: average gap, points", ("average_gap",), 1),
        ("distance to Retrain on forgotten rows: JS, nats", ("forget", "js"), 3),
        ("same answer as Retrain on forgotten rows, %", ("forget", "agreement"), 1),
        ("similarity of features to Retrain's (CKA)", ("forget", "cka"), 2),
    ):
        if not apart:
            break
        cells = [f"{_mean(apart, [s.name for s in found.unlearned], pick):.{digits}f}", "0"]
        cells[1] = {"agreement": "100", "cka": "1"}.get(pick[-1], "0")
        if found.original:
            cells.append(f"{_mean(apart, ['Original'], pick):.{digits}f}")
        if floor_known:
            cells.append(f"{_mean(apart, ['floor'], pick):.{digits}f}")
        rows.append([words, *cells])
    lead = (
        "A number is good if it is near Retrain's, not if it is high or low. "
        + ("The floor says how near two Retrains are." if floor_known else "")
        + ("" if found.retrains else "There is no Retrain here to compare with.")
    )
    return Section("How near is it?", lead, tables=[Grid.of(head, rows)])


def _mean(apart: Mapping[str, Any], names: list[str], pick: tuple[str, ...]) -> float:
    values = []
    for name in names:
        value: Any = apart[name]
        for key in pick:
            value = value[key]
        values.append(float(value))
    return float(np.mean(values))


def _evidence(found: Audit) -> Section:
    verdict = found.verdict
    m, n = verdict.rows
    of_original = {e.name: e for e in found.of_original.tests} if found.of_original else {}
    head = ["test", "this model", "p (Holm)", "found", *(["Original"] if of_original else [])]
    rows = [
        [
            e.about.partition(":")[0],
            _size(e),
            f"{e.holm:.2f}" if e.holm >= 0.01 else f"{e.holm:.1g}",
            e.meaning,
            *([_size(of_original[e.name])] if of_original else []),
        ]
        for e in verdict.evidence
    ]
    lead = (
        "To a model that never saw the forgotten rows they are like test rows of their class. So "
        f"{m:,} forgotten rows are compared with {n:,} test rows"
        + (", after taking off what Retrain makes of each" if found.retrains else "")
        + ": a forgotten row should score higher in half of all pairs. Above 50% the model knows "
        "more of them than of unseen rows, below 50% less. p: how often chance alone does as much."
    )
    return Section("How sure is that?", lead, tables=[Grid.of(head, rows)], notes=verdict.caveats)


def _size(e: Evidence) -> str:
    if e.name == "answers":
        return f"{100 * e.effect:.1f}% of rows"
    return f"{e.effect:.1f} points" if e.name.startswith("kept") else f"{50 + 100 * e.effect:.0f}%"


def _pictures(found: Audit) -> Section:
    shown = {_label(found.unlearned[0]): found.unlearned[0]}
    if found.retrains:
        shown["Retrain"] = found.retrains[0]
    if found.original:
        shown["Original"] = found.original
    classes = found.data.classes
    losses = {name: _losses(s) for name, s in shown.items()}
    curves = {
        name: curve(*(scaled_logit(*_alike(s, p)) for p in ("forget", "test")))
        for name, s in shown.items()
    }
    shares = {name: _shares(s, len(classes)) for name, s in shown.items()}
    pictures = [
        Picture(
            loss_histograms(losses),
            "Loss of each forgotten row (solid), of each test row of their classes (dashed). "
            "If a model never saw the forgotten rows, the two outlines coincide; if it remembers "
            "them, the solid one lies further left. Compare with Retrain's panel.",
        ),
        Picture(
            roc_curves(curves),
            "Can an attacker who sees the model's certainty tell forgotten rows from test rows? "
            "On the dotted line he guesses. The nearer a curve is to Retrain's the better.",
        ),
    ]
    if found.split.forget_class is not None and len(classes) <= MANY:
        pictures.append(
            Picture(
                prediction_row(shares, classes),
                "What each model calls the forgotten class, percent. A model that never saw it "
                "calls it what it resembles; the rows should agree with Retrain's.",
            )
        )
    maps = {name: _fewer(s.found) for name, s in shown.items()}
    pictures.append(
        Picture(
            feature_maps(maps, classes),
            "How each model arranges rows (t-SNE of its features; each map stands for itself). "
            "Small dots: retained rows; large marks: forgotten rows; colour and shape: the class "
            f"the model gives them. At most {SHOWN} forgotten rows are drawn.",
        )
    )
    if found.retrains and len(classes) <= MANY:
        matrices = {
            name: confusion(s.logits("forget"), s.labels("forget")) for name, s in shown.items()
        }
        exact = matrices.pop("Retrain")
        pictures.append(
            Picture(
                confusion_differences(matrices, exact, classes),
                "Forgotten rows by true class (down) and predicted class (across): each model "
                "minus Retrain, points. A plus on the diagonal: it still knows them better.",
            )
        )
    return Section("Pictures", "The first model of each kind.", pictures=pictures)


def _label(subject: Subject) -> str:
    """As the papers call the method; a Retrain under audit is "Retrain again"."""
    record = subject.run.record
    again = {"original": "the Original", "retrain": "Retrain again"}
    return again.get(record["kind"]) or method_style(record["method"]["name"]).label


def _alike(subject: Subject, part: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and labels of *part*, of the classes that were forgotten."""
    labels = subject.labels(part)
    rows = torch.isin(labels, subject.labels("forget"))
    return subject.logits(part)[rows], labels[rows]


def _losses(subject: Subject) -> dict[str, np.ndarray]:
    return {p: loss(*_alike(subject, p)).numpy() for p in ("forget", "test")}


def _shares(subject: Subject, classes: int) -> np.ndarray:
    said = subject.logits("forget").argmax(1).numpy()
    return 100 * np.bincount(said, minlength=classes) / len(said)


def _fewer(found: Predictions) -> Predictions:
    """*found* with at most so many forgotten rows that a map stays readable."""
    labels = found.labels["forget"]
    rows = stratified(labels, min(SHOWN, len(labels)), 0)
    some = Outputs(*(torch.as_tensor(x)[rows] for x in found.outputs["forget"]))
    return Predictions({**found.outputs, "forget": some}, {**found.labels, "forget": labels[rows]})
