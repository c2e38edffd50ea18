"""The readable form of a certificate: a page for people, and a section of a model card."""

from __future__ import annotations

import collections
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from coun.certificates.statement import (
    Check,
    Cost,
    Digest,
    Predicate,
    RequestServed,
    Result,
    Statement,
)
from coun.errors import counted

if TYPE_CHECKING:
    from coun.report.html import Section
    from coun.report.table import Grid

OUTCOMES = {
    "FULFILLED": "was fulfilled",
    "FULFILLED_BY_RETRAINING": "was fulfilled by retraining",
    "FAILED": "was NOT fulfilled; the model before it is still in service",
}
SYMBOLS = {"PASSED": "✓ PASSED", "WARNED": "! WARNED", "FAILED": "✕ FAILED"}
MARKS: dict[Result, str] = {"PASSED": "", "WARNED": "warn", "FAILED": "bad"}
ACCURACIES = ("test accuracy", "retain accuracy")  # how checks begin that say nothing of memory
FROM_SCRATCH = "trained from scratch without the rows"  # the check of an exact version
REMEMBERED = (
    "Remembered share: an estimate of the share of the forgotten rows that the model treats as "
    "rows it was trained on. It takes them to be as hard as test rows: rows that are easier by "
    "nature raise it, and rows that are harder, such as rows with wrong labels, lower it to 0."
)
EASY_ROWS = (
    "This model was trained from scratch without the rows, so its remembered share shows how easy "
    "they are, and not memory."
)
WARNED = "WARNED: the test did not fail, and it does not show what it was made to show either."
COULD_FIND = (
    "Could find: how many rows the model would have to remember for the test to notice it in 4 of "
    "5 cases; a test that could find few rows is strong evidence."
)
LEGEND = (
    "SHA-256: a number computed from every byte of a file; two files with the same number are the "
    "same file. Retrain: a model trained from scratch without the rows, the exact answer."
)


def write_page(statement: Statement, keyids: Sequence[str], path: Path) -> None:
    """Write the page of *statement* to *path*, completely or not at all.

    Args: keyids: of the keys that signed it.
    """
    from coun.report.html import write_report

    predicate = statement.predicate
    write_report(
        path,
        f"Certificate of unlearning: request {predicate.request.id}",
        "",
        _sections(statement, keyids),
        f"Made on {predicate.time_created:%Y-%m-%d %H:%M} UTC.",
        headline=headline(predicate),
        alarm=predicate.result == "FAILED",
        legend=LEGEND,
    )


def model_card(statement: Statement, keyids: Sequence[str] = ()) -> str:
    """Return the content of a certificate as a section of a model card, in Markdown.

    Args:
        statement: what the certificate says, from `Verification.statement`.
        keyids: of the keys that signed it, from `Verification.keyids`.

    >>> from coun.certificates.example import example_statement
    >>> model_card(example_statement()).splitlines()[0]
    '## Unlearning'
    """
    parts = ["## Unlearning\n", headline(statement.predicate) + "\n"]
    for section in _sections(statement, keyids):
        parts += [f"### {section.title}\n", section.lead + "\n"]
        for table in section.tables:
            parts.append(_escaped(table).markdown)
        parts += [f"{_plain(note)}\n" for note in section.notes]
        parts += [f"    {command}\n" for command in section.commands]
    return "\n".join(part for part in parts if part.strip())


def headline(predicate: Predicate) -> str:
    """Say in a few sentences what the certificate says."""
    request = predicate.request
    rows = f"{request.rows:,} row{'s' * (request.rows != 1)}"
    text = f"The request of {request.received} to forget {rows} {OUTCOMES[predicate.result]}."
    if predicate.effective and predicate.result != "FAILED":
        text += f" The new model is in service since {predicate.effective:%Y-%m-%d}."
    counts = collections.Counter(check.result for check in predicate.checks)
    results = ", ".join(f"{counts[result]} {result}" for result in MARKS if counts[result])
    text += f" Tests: {results or 'none'}."
    if predicate.result == "FULFILLED" and not shows_forgetting(predicate.checks):
        text += " None shows that the rows are forgotten."
    return text


def shows_forgetting(checks: Sequence[Check]) -> bool:
    """Whether a check passed that is about more than accuracy.

    >>> shows_forgetting([Check(name="test accuracy", result="PASSED")])
    False
    """
    return any(c.result == "PASSED" and not c.name.startswith(ACCURACIES) for c in checks)


def _sections(statement: Statement, keyids: Sequence[str]) -> list[Section]:
    return [
        _asked(statement.predicate.request),
        _done(statement),
        _shown(statement.predicate),
        _covered(statement.predicate),
        _how_to_verify(statement, keyids),
    ]


def _asked(request: RequestServed) -> Section:
    from coun.report.html import Section
    from coun.report.table import Grid

    facts = [
        ["Request", request.id],
        ["Received", str(request.received)],
        ["Due", str(request.due or "not stated")],
        ["Reason", request.reason or "not stated"],
        ["Training rows that must be forgotten", f"{request.rows:,} ({request.kind})"],
        ["Rows recognised by", ", ".join(request.matched_by) or "not stated"],
    ]
    notes = []
    if request.rows_commitment:
        facts.append(["Commitment to the rows", request.rows_commitment.root])
        notes.append(
            "This page does not name the rows. Whoever has the key of the request and the id of a "
            "row can prove with the commitment that the row was in the request. Without the key "
            "the commitment says nothing about any row."
        )
    return Section("What was asked", "", [Grid.of(["", ""], facts, "The request")], notes=notes)


def _done(statement: Statement) -> Section:
    from coun.report.html import Section
    from coun.report.table import Grid

    predicate = statement.predicate
    method = predicate.method
    facts = [
        ["Method", method.name],
        ["Settings", ", ".join(f"{k}={v}" for k, v in method.settings.items()) or "defaults"],
        ["Seed", str(method.seed)],
        ["Read the rows that must be forgotten", "yes" if method.reads_forget_data else "no"],
        ["Cost", _cost(predicate.cost)],
        ["Effective", f"{predicate.effective:%Y-%m-%d %H:%M} UTC" if predicate.effective else "no"],
    ]
    files = [[f"result: {s.name}", _digest(s.digest)] for s in statement.subject]
    files += [[m.name, _digest(m.digest) or m.uri or ""] for m in predicate.materials]
    tables = [
        Grid.of(["", ""], facts, "The work"),
        Grid.of(
            ["file, data or program", "SHA-256 or version"],
            files,
            "What it started from, and what it gave",
            words=True,
        ),
    ]
    return Section("What was done", "", tables)


def _shown(predicate: Predicate) -> Section:
    from coun.report.html import Section
    from coun.report.table import Grid

    rows = [(MARKS[check.result], _check_cells(check)) for check in predicate.checks]
    header = ["test", "result", "value", "90% interval", "could find"]
    notes = [COULD_FIND]
    if not any(cells[-1] for _, cells in rows):
        header, rows, notes = header[:-1], [(mark, cells[:-1]) for mark, cells in rows], []
    tables = [Grid(header, rows, "The tests of the new model", words=True)] if rows else []
    lead = predicate.statement if rows else f"No test was made. {predicate.statement}"
    if any(check.name.startswith("remembered share") for check in predicate.checks):
        notes.append(REMEMBERED)
        if any(check.name == FROM_SCRATCH for check in predicate.checks):
            notes.append(EASY_ROWS)
    if any(check.result == "WARNED" for check in predicate.checks):
        notes.append(WARNED)
    return Section("What was shown", lead, tables, notes=notes)


def _check_cells(check: Check) -> list[str]:
    power = "" if check.detectable_rows is None else counted(check.detectable_rows, "row")
    return [check.name, SYMBOLS[check.result], check.shown, check.between, power]


def _covered(predicate: Predicate) -> Section:
    from coun.report.html import Section
    from coun.report.table import Grid

    rows = [
        ["Covered", "; ".join(predicate.coverage.covered) or "nothing"],
        ["Not covered", "; ".join(predicate.coverage.not_covered) or "nothing was named"],
    ]
    lead = "The certificate says nothing about what is not covered; it must be deleted as well."
    table = Grid.of(["", ""], rows, "What the certificate is about")
    return Section("What this covers, and what it does not", lead, [table])


def _how_to_verify(statement: Statement, keyids: Sequence[str]) -> Section:
    from coun.report.html import Section
    from coun.report.table import Grid

    previous = statement.predicate.previous
    facts = [[f"Signature {i}", f"key {key}"] for i, key in enumerate(keyids, 1)]
    facts.append(
        ["Previous certificate", _digest(previous.digest) if previous else "none, it is the first"]
    )
    lead = (
        "This page is a copy for people; the signed certificate is certificate.intoto.json beside "
        "it. The command needs no network. Get the signer's public key from the signer, not from "
        "this folder. No outside time stamp confirms the dates."
    )
    table = Grid.of(["", ""], facts, "Signatures and chain")
    command = "coun verify certificate.intoto.json --model model.safetensors --key signer.pem.pub"
    return Section("How to verify it", lead, [table], commands=[command])


def _cost(cost: Cost) -> str:
    from coun.runs.cost import operations

    text = f"{operations(cost.flops)} (floating-point operations)"
    if cost.retrain_flops:
        text += f", {cost.flops / cost.retrain_flops:.2f} of a Retrain"
    if cost.seconds is not None:
        text += f", {cost.seconds:,.{0 if cost.seconds >= 10 else 1}f} s"
    return text


def _digest(digest: Digest) -> str:
    return digest.get("sha256") or ", ".join(f"{name} {value}" for name, value in digest.items())


def _plain(text: str) -> str:
    """*text* on one line, with the characters escaped that Markdown and HTML would act on."""
    text = " ".join(text.split())
    for letter in "\\`*_[]<>|#":
        text = text.replace(letter, f"\\{letter}")
    return text


def _escaped(table: Grid) -> Grid:
    from coun.report.table import Grid

    rows = [(mark, [_plain(text) for text in texts]) for mark, texts in table.rows]
    return Grid(table.header, rows, words=table.words)
