"""The page of a registry: what is served, what was asked, and what is open or overdue."""

from __future__ import annotations

import math
import os
from pathlib import Path

from coun.files import refuse_other_text
from coun.registry.summary import RegistrySummary, RequestSummary, VersionSummary
from coun.report.figures.drift import drift_curve
from coun.report.html import Section, write_report
from coun.report.picture import Picture
from coun.report.table import Grid

SOON = 7  # days before a due date from which an open request is marked
LEGEND = (
    "Drift: percent of the test rows that a version classifies otherwise than the last Retrain or, "
    "where there is none, version 1. Retrain: a model trained from scratch without the forgotten "
    "rows, the exact answer. A certificate is evidence under the tests that it names; not a proof "
    "that no trace remains."
)


def write_page(summary: RegistrySummary, path: str | Path) -> Path:
    """Write the page of a registry, which needs no other file and no network.

    Args:
        summary: from `Registry.summary`.
        path: of the page; it is written completely or not at all.

    Returns: *path*.

    Raises: CounError if the file cannot be written, or if *path* holds anything but an earlier
        page of this registry.
    """
    made = f"Registry {summary.registry[:12]}"
    refuse_other_text(Path(path), made, "an earlier page of this registry")
    alarming = bool(summary.overdue or summary.ledger.problems)
    write_report(
        Path(path),
        "Deletion requests",
        "",
        [_served(summary), _requests(summary), _versions(summary), _record(summary)],
        f"{made} in {_seen_from(summary.folder, Path(path))}, {summary.today}.",
        headline=headline(summary),
        alarm=alarming,
        legend=LEGEND,
    )
    return Path(path)


def _seen_from(folder: str, page: Path) -> str:
    """The path of the registry from the folder of the page, which others may read elsewhere."""
    relative = os.path.relpath(folder, page.absolute().parent)
    return "the folder of this page" if relative == "." else relative


def headline(summary: RegistrySummary) -> str:
    """Say in a few sentences what a person has to know first."""
    sentences = []
    if summary.ledger.problems:
        sentences.append(f"THE RECORD WAS CHANGED: {summary.ledger.problems[0]}.")
    waiting, late = len(summary.open), len(summary.overdue)
    requests = f"{waiting} request{'s are' if waiting != 1 else ' is'} open"
    if late:
        sentences.append(f"{requests}, {late} OVERDUE (request {_numbers(summary.overdue)}).")
    elif waiting:
        dates = [r.due for r in summary.requests if r.request in summary.open]
        sentences.append(f"{requests}, due from {min(dates)}; none is overdue.")
    else:
        sentences.append("No request is open.")
    sentences.append(f"Version {summary.served} is served since {summary.served_since[:10]}.")
    return " ".join(sentences).replace("..", ".")


def _served(summary: RegistrySummary) -> Section:
    """The version that is served now."""
    version = next(v for v in summary.versions if v.version == summary.served)
    accuracy = version.metrics.get("test_accuracy")
    facts = [
        ["Version", f"{version.version}, since {summary.served_since[:16].replace('T', ' ')} UTC"],
        ["Made by", f"{_made_by(version)}{': ' if version.reason else ''}{version.reason}"],
        ["Rows forgotten so far", f"{version.forgotten_rows:,}"],
        ["Test accuracy", "unknown" if accuracy is None else f"{accuracy:.1f}%"],
        ["Drift", _drift(version)],
        ["Folder", version.folder],
        ["SHA-256 of the model", version.weights_sha256],
    ]
    return Section("What is served", "", [Grid.of(["", ""], facts, "The served model")])


def _requests(summary: RegistrySummary) -> Section:
    """All requests: overdue ones first, then open ones by due date, then the last closed."""
    waiting = [r for r in summary.requests if r.state == "open"]
    closed = [r for r in reversed(summary.requests) if r.state != "open"]
    order = sorted(waiting, key=lambda r: (r.due, r.request)) + closed
    rows = [_request_row(request) for request in order]
    header = ["request", "state", "due", "rows", "received", "closed", "version", "reason"]
    table = Grid(header, rows, "Requests, the most urgent first", words=True)
    total = len(summary.requests)
    lead = f"{total:,} request{'s' * (total != 1)}, {len(waiting):,} open."
    notes = []
    if summary.unfinished:
        notes.append(
            f"The work on request {_numbers(summary.unfinished)} has begun; if no process does it "
            "now, repeat 'coun fulfil' to go on."
        )
    return Section("What was asked", lead, [table] if rows else [], notes=notes)


def _request_row(request: RequestSummary) -> tuple[str, list[str]]:
    mark, state = "", f"✓ {request.state}"
    if request.state == "withdrawn":
        state = "- withdrawn"
    elif request.result == "FULFILLED_BY_RETRAINING":
        state = "✓ fulfilled by retraining"
    if request.state == "open":
        mark, state = "", "○ open"
        days = request.days_left
        if request.overdue:
            mark = "bad"
            state = f"✕ OVERDUE by {_days(-days)}" if days is not None else "✕ OVERDUE"
        elif days is not None and days <= SOON:
            mark, state = "warn", f"! open, due {'today' if days == 0 else 'in ' + _days(days)}"
        if request.result == "FAILED":
            state += "; the last attempt FAILED"
    return mark, [
        str(request.request),
        state,
        request.due,
        f"{request.rows:,} ({request.kind})",
        request.received,
        (request.closed or "")[:10],
        "" if request.version is None else str(request.version),
        request.reason,
    ]


def _versions(summary: RegistrySummary) -> Section:
    """The versions with their drift, as a picture and a table."""
    rows = [
        (
            "best" if version.served else "",
            [
                f"{version.version}{' (served)' if version.served else ''}",
                _made_by(version),
                _numbers(version.requests),
                _percent(version.metrics.get("test_accuracy")),
                _drift(version),
                _cost(version),
                version.created[:10],
            ],
        )
        for version in reversed(summary.versions)
    ]
    header = ["version", "made by", "requests", "test accuracy", "drift", "cost", "made"]
    with_drift = [version for version in summary.versions if version.drift is not None]
    pictures = []
    if len(with_drift) > 1:
        figure = drift_curve(
            [version.version for version in summary.versions],
            [math.nan if v.drift is None else v.drift for v in summary.versions],
            [version.exact and version.parent is not None for version in summary.versions],
        )
        caption = (
            "Drift of each version: the percentage of test rows that it classifies otherwise than "
            "the last Retrain, or the first version. It grows with what was forgotten since then; "
            "a Retrain sets it back to 0."
        )
        pictures.append(Picture(figure, caption))
    lead = f"Cost is the share of a Retrain's operations. {summary.about_test_rows()}".strip()
    table = Grid(header, rows, "Versions, the newest first", words=True)
    return Section("Versions and their drift", lead, [table], pictures)


def _record(summary: RegistrySummary) -> Section:
    """Certificates, and whether the ledger is whole."""
    certificates = [
        [str(c.request), str(c.version), c.created[:10], c.sha256[:12], c.path]
        for c in reversed(summary.certificates)
    ]
    header = ["request", "version", "made", "SHA-256", "file"]
    tables = [Grid.of(header, certificates, "Certificates, the newest first", words=True)]
    ledger = summary.ledger
    facts = [
        ["Entries", f"{ledger.entries:,}"],
        ["Hash of the last entry", ledger.head],
        ["Times at which the clock went back", str(ledger.clock_went_back)],
    ]
    rows = [("", fact) for fact in facts]
    rows += [("bad", ["✕ CHANGED", problem]) for problem in ledger.problems]
    if not ledger.problems:
        rows.append(("", ["Every entry has the hash of the one before", "✓ yes"]))
    tables.append(Grid(["", ""], rows, "The ledger"))
    commands = [
        "coun verify CERTIFICATE --registry .",
        "coun registry check .",
    ]
    if not certificates:
        del tables[0], commands[0]
    lead = "Check a certificate, and the registry with all its files, with these commands."
    return Section("The record", lead, tables, commands=commands)


def _made_by(version: VersionSummary) -> str:
    if version.parent is None:
        return "the first model"
    name = "a Retrain" if version.method == "retrain" else version.method
    start = f" from version {version.start}" if version.start else ""
    return f"{name} (exact){start}" if version.exact else f"{name}{start}"


def _drift(version: VersionSummary) -> str:
    return "unknown" if version.drift is None else f"{version.drift:.1f}%"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}%"


def _cost(version: VersionSummary) -> str:
    if not version.retrain_flops or version.flops is None:
        return ""
    return f"{version.flops / version.retrain_flops:.2f}"


def _days(number: int) -> str:
    return f"{number} day{'s' * (number != 1)}"


def _numbers(numbers: tuple[int, ...]) -> str:
    return ", ".join(map(str, numbers))
