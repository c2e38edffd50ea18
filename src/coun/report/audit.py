"""The page of an audit: the verdict, who was audited, the numbers, the tests and pictures."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from coun.audit import Audit, Evidence
from coun.audit.result import folder_of
from coun.audit.wording import effect_text, p_text, short
from coun.errors import counted
from coun.report.audit_pictures import label, pictures
from coun.report.figures.rows import row_pictures
from coun.report.html import Section, write_report
from coun.report.picture import Picture
from coun.report.style import method_style, short_names
from coun.report.table import Grid

ROWS = "Which rows stand out?"
WITHOUT_ROWS = "Ids and pictures of forgotten rows were left out of this page and of audit.json."
MOSTLY_FALSE = 0.5  # share of false alarms above which no row of a list stands out
LEGEND = (
    "Retrain: a model trained from scratch without the forgotten rows, the exact answer. Floor: "
    "the mean distance between two Retrains that differ in their seed only; a smaller distance "
    "shows nothing. Membership attack: percent of forgotten rows that an attacker takes for never "
    "trained on. JS: Jensen-Shannon divergence of two models' probabilities, from 0 (the same) to "
    "0.693. p (Holm): p-values corrected for the number of tests. Finds 4 times in 5: the number "
    "of remembered rows from which the test would find something; unknown: this was not worked out "
    "for the test. All numbers, with many more, are in audit.json."
)
PAIRS = (
    "Pairs: how often a forgotten row scores higher than a test row of its class; 50% is ideal, "
    "more means memory. "
)
LEVELS = (
    "Levels: means over the forgotten rows. A level of right answers is the percentage of them; "
    "any other level in % is the percentage of the model's own test rows that score lower. "
)
KEPT = "Accuracy lost counts only if it is clearly more than {margin:g} points (the margin). "


def write_audit(
    audit: Audit,
    folder: str | Path,
    *,
    maps: bool = False,
    show_rows: bool = True,
    below: Path | None = None,
) -> Path:
    """Write `report.html` and `audit.json` in *folder*.

    Args:
        audit: what `coun.audit.audit` returned.
        maps: also draw how each model arranges rows (t-SNE, which takes seconds).
        show_rows: also list the forgotten rows that stand out, with their ids and pictures,
            which may be personal data.
        below: name the folders of models from this one on, for a page that others read.

    Returns: the page's path.

    >>> import coun
    >>> from coun.audit import audit
    >>> data = coun.load("digits", limit=60)
    >>> original = coun.train(data, "mlp", epochs=1)
    >>> found = audit(original, split=coun.Split.random(data, 0.2), rest=False, relearn=False)
    >>> import tempfile
    >>> write_audit(found, tempfile.mkdtemp()).name
    'report.html'
    """
    path = Path(folder) / "report.html"
    verdict, model = audit.verdict, audit.unlearned[0]
    method = ", ".join(dict.fromkeys(label(s) for s in audit.unlearned))
    digest = model.run.record.weights_sha256 if model.run else ""
    sections = [
        _who(audit, below),
        _numbers(audit),
        _evidence(audit),
        _rows(audit) if show_rows else Section(ROWS, WITHOUT_ROWS),
        Section("Pictures", "The first model of each kind.", pictures=pictures(audit, maps)),
    ]
    write_report(
        path,
        f"Audit of {method}",
        verdict.sentence,
        sections,
        f"Model {digest[:12]}, request {audit.split.digest[:12]}, "
        f"{datetime.date.today().isoformat()}.",
        headline=verdict.headline,
        legend=LEGEND,
    )
    # After the page, which takes seconds, so that a process that is killed leaves no file.
    audit.save(folder, show_rows=show_rows, below=below)
    return path


def _who(audit: Audit, below: Path | None) -> Section:
    """Which models, from which parent, how they were made and at what cost."""
    runs = audit.runs
    flops = [runs[s.name].record.cost.flops for s in audit.retrains if s.name in runs]
    retrain = float(np.mean(flops)) if flops and all(flops) else 0.0
    rows = []
    settings: dict[str, list[str]] = {}
    for name, run in runs.items():
        record = run.record
        method, cost = record.method, record.cost
        named = [name, folder_of(run, below) or "in memory", record.weights_sha256[:12]]
        if record.kind == "given":
            rows.append([*named, "unknown", "not recorded", "unknown", "unknown"])
        else:
            rows.append(
                [
                    *named,
                    record.parent.weights_sha256[:12] if record.parent else "from scratch",
                    f"{_METHODS.get(record.kind) or _with_label(method.name)}, seed {record.seed}",
                    f"{cost.seconds:.1f} s",
                    _percent(cost.flops / retrain) if retrain else "unknown",
                ]
            )
        text = ", ".join(f"{k}={v}" for k, v in method.settings.items())
        unset = "not recorded" if record.kind == "given" else "none"
        settings.setdefault(text or unset, []).append(name)
    head = ["", "folder or file", "weights", "made from", "method", "time", "cost (Retrain: 100%)"]
    forget, missing = len(audit.split.forget), audit.missing
    kind = _KINDS[audit.family.parts.kind]
    lead = (
        f"Request: {audit.split.describe()}. {forget:,} of {forget + len(audit.split.retain):,} "
        f"training rows must be forgotten; by content the request is {kind}."
        + (f" {missing:,} of them are no longer in the data." if missing else "")
    )
    used = [[", ".join(names), text] for text, names in settings.items()]
    tables = [Grid.of(head, rows, words=True), Grid.of(["", "settings"], used)]
    return Section("What was audited", lead, tables=tables)


def _with_label(name: str) -> str:
    """A method as commands call it and, where that is another word, as papers call it."""
    called = method_style(name).label
    return name if called.lower() == name.replace("_", " ") else f"{name} ({called})"


def _percent(share: float) -> str:
    return "below 1%" if 0 < share < 0.005 else f"{100 * share:.0f}%"


_METHODS = {"original": "trained on all rows", "retrain": "trained without these rows"}
_KINDS = {
    "random": "a random draw",
    "class": "one or more whole classes",
    "listed": "a list of rows",
    "mixed": "a mixture of random rows, whole classes and listed rows",
}


def _numbers(audit: Audit) -> Section:
    """This model, Retrain, the floor and the Original: before and after, side by side."""
    tables, apart = audit.measures, audit.distances
    groups = {"this model": audit.unlearned, "Retrain": audit.retrains}
    if audit.original:
        groups["Original (before)"] = (audit.original,)
    groups = {name: group for name, group in groups.items() if group}
    metrics = (audit.seeds or {}).get("metrics", {})
    has_floor = "floor" in apart
    named = [f"{k} (mean of {len(g)})" if len(g) > 1 else k for k, g in groups.items()]
    head = ["", *named, *(["floor"] if has_floor else [])]
    rows = []
    for key, words, turn in (
        ("unlearn_accuracy", "right answers on forgotten rows, %", True),
        ("test_accuracy", "right answers on test rows, %", False),
        ("retain_accuracy", "right answers on retained rows, %", False),
        ("mia_efficacy", "membership attack: forgotten rows taken for unseen, %", False),
    ):
        if not tables:
            break
        cells = []
        for group in groups.values():
            value = float(np.mean([tables[s.name][key] for s in group]))
            cells.append(f"{100 - value if turn else value:.1f}")
        rows.append([words, *cells, *([f"±{metrics[key]['floor']:.1f}"] if has_floor else [])])
    for words, keys, digits, ideal in (
        ("distance to Retrain: average gap, points", ("average_gap",), 1, "0"),
        ("distance to Retrain on forgotten rows: JS, nats", ("forget", "js"), 3, "0"),
        ("same answer as Retrain on forgotten rows, %", ("forget", "agreement"), 1, "100"),
        ("similarity of features to Retrain's (CKA)", ("forget", "cka"), 2, "1"),
    ):
        if not apart:
            break
        cells = [f"{_mean(apart, [s.name for s in audit.unlearned], keys):.{digits}f}", ideal]
        if audit.original:
            cells.append(f"{_mean(apart, ['Original'], keys):.{digits}f}")
        if has_floor:
            cells.append(f"{_mean(apart, ['floor'], keys):.{digits}f}")
        rows.append([words, *cells])
    lead = (
        "A number is good if it is near Retrain's, not if it is high or low. "
        + ("The floor is how far two Retrains are from each other. " if has_floor else "")
        + ("" if audit.retrains else "There is no Retrain here to compare with.")
    )
    return Section("How near is it?", lead, tables=[Grid.of(head, rows)] if rows else [])


def _mean(apart: Mapping[str, Any], names: list[str], keys: tuple[str, ...]) -> float:
    values = []
    for name in names:
        value: Any = apart[name]
        for key in keys:
            value = value[key]
        values.append(float(value))
    return float(np.mean(values))


def _evidence(audit: Audit) -> Section:
    """All tests with their effects, p-values and power, and the caveats."""
    verdict = audit.verdict
    before = {(e.name, e.part): e for e in audit.of_original.tests} if audit.of_original else {}
    head = ["test", "this model", "p (Holm)", "found", "finds 4 times in 5"]
    rows = [
        [
            f"{short(e)}{' (listed rows)' if e.part == 'listed' else ''}",
            _effect(e),
            p_text(e.holm),
            e.meaning,
            _detectable(e),
            *([_before(before.get((e.name, e.part)))] if before else []),
        ]
        for e in verdict.evidence
    ]
    kinds = {e.name.partition("_")[0] if e.level else e.unit for e in verdict.evidence}
    lead = (
        (PAIRS if "pairs" in kinds else "")
        + (LEVELS if "level" in kinds else "")
        + (KEPT.format(margin=verdict.margin) if "kept" in kinds else "")
        + "All tests together accuse a perfectly unlearned model with at most "
        f"{100 * verdict.alpha:g}% chance."
    )
    if not rows:
        lead = (
            "No test was made: there is no Retrain to compare with, and test rows do not stand for "
            "these forgotten rows."
        )
        return Section("How sure is that?", lead, notes=verdict.caveats)
    table = Grid.of([*head, *(["Original"] if before else [])], rows)
    return Section("How sure is that?", lead, tables=[table], notes=verdict.caveats)


def _before(e: Evidence | None) -> str:
    return "" if e is None else _effect(e) + (", found" if e.found else ", not found")


def _effect(e: Evidence) -> str:
    if e.unit == "pairs":
        return f"{50 + 100 * e.effect:.0f}% of pairs"
    if e.level is not None and e.unit == "points" and not e.name.startswith("kept"):
        return f"{e.level.model:.1f}%, Retrain {e.level.retrain:.1f}%"
    return effect_text(e)


def _detectable(e: Evidence) -> str:
    if e.detectable is None:
        return "unknown"
    return counted(round(e.detectable), "row") if np.isfinite(e.detectable) else "not even all"


def _rows(audit: Audit) -> Section:
    """The forgotten rows that stand out most, with their pictures."""
    rows = audit.suspicious()
    lead = (
        "The forgotten rows that the model is surest of, compared with test rows of their class"
        + (" and with the Retrains" if audit.retrains else "")
        + ". p: the share of such test rows that are as sure. q: the expected share of false "
        "alarms among the rows down to this one. A small p of one row alone is not evidence. This "
        "list shows forgotten rows, which may be personal; --without-rows leaves it out."
    )
    least = min((r["q"] for r in rows), default=0.0)
    if least > MOSTLY_FALSE:
        lead += (
            " Wherever this list is cut off, of the rows above the cut at least "
            f"{100 * least:.0f}% are expected to be false alarms, so none of these rows stands out."
        )
    cells = [[r["id"], r["class"], p_text(r["p"]), p_text(r["q"])] for r in rows]
    tables = [Grid.of(["row", "class", "p", "q"], cells, words=True)] if rows else []
    drawn = []
    if rows and len(audit.data.shape) == 3:
        shown = rows[:12]
        images = audit.data.train.fetch(torch.tensor([r["position"] for r in shown]))
        names = [short_names([r[key] for r in shown], 18) for key in ("id", "class")]
        titles = ["\n".join(pair) for pair in zip(*names, strict=True)]
        drawn.append(Picture(row_pictures(images, titles), "The first rows of this list."))
    return Section(ROWS, lead, tables=tables, pictures=drawn)
