"""What a certificate says of a request that a version fulfilled, and the files of certificates."""

from __future__ import annotations

import datetime
import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coun import __version__
from coun.audit import Audit
from coun.certificates import (
    Check,
    Coverage,
    Material,
    MethodUsed,
    Predicate,
    Previous,
    RequestServed,
    RowsCommitment,
    Statement,
    Subject,
    issue,
    load_key,
    statement_digest,
)
from coun.certificates import Cost as StatedCost
from coun.data.content import row_hashes
from coun.files import file_digest
from coun.registry.layout import CERTIFICATES
from coun.registry.state import Request
from coun.registry.versions import sync
from coun.runs import Run
from coun.runs.folder import WEIGHTS

if TYPE_CHECKING:
    from coun.registry.registry import Registry

NOT_COVERED = (
    "source files",
    "back-ups and the cache of decoded pictures",
    "derived models",
    "logs",
    "earlier versions of the model, which the registry keeps for a rollback",
    "row numbers in the records of versions, which name no one without the source",
    "the key of the request, until 'coun request shred' destroys it",
)


def certify(
    registry: Registry,
    requests: Sequence[int],
    run: Run,
    *,
    weights: str,
    page: Audit | None,
    **stated: Any,
) -> dict[int, dict[str, str]]:
    """Write a certificate for each request; those of an interrupted attempt are replaced.

    Args:
        run: the new version.
        weights: SHA-256 of its weights file.
        page: the audit whose page is written beside each certificate; None writes no page.
        stated: further arguments of `statement_of`.

    Returns: by request, the path of the certificate and the SHA-256 of its signed bytes.
    """
    state, key = registry.state(), load_key(registry.signing_key)
    statements = [e.body["statement"] for e in registry.ledger.entries() if e.kind == "fulfilled"]
    previous = statements[-1] if statements else None
    written = {}
    for number in requests:
        earlier = len(state.requests[number].versions)
        name = f"{number}-{earlier + 1}" if earlier else f"{number}"
        folder = registry.folder / CERTIFICATES / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        subjects = {WEIGHTS: weights}
        if page is not None:
            files = (_write_page(page, folder, registry.folder), folder / "audit.json")
            subjects |= {file.name: file_digest(file) for file in files}
        statement = statement_of(
            state.requests[number], run, subjects=subjects, previous=previous, **stated
        )
        path = issue(statement, [key], folder)
        sync(folder)
        previous = statement_digest(path)
        written[number] = {
            "path": str(path.relative_to(registry.folder)),
            "statement": previous,
        }
    return written


def _write_page(result: Audit, folder: Path, below: Path) -> Path:
    """Write the page of an audit, with paths in the registry *below* and no forgotten rows."""
    from coun.report import write_audit

    page = write_audit(result, folder, show_rows=False, below=below)
    return page.replace(folder / "audit.html")


def statement_of(
    request: Request,
    run: Run,
    *,
    subjects: dict[str, str],
    models: dict[str, str],
    checks: tuple[Check, ...],
    retrain_flops: float | None,
    previous: str | None,
    exact: bool,
    reads_forget_rows: bool,
) -> Statement:
    """Make the statement of one request.

    Args:
        run: the new version.
        subjects: SHA-256 of the files that the certificate is about, by name.
        models: SHA-256 of the weights files of the version that was served before, and of the
            one that the new version was made from if that is another one, by name.
        previous: SHA-256 of the signed bytes of the certificate before.
        exact: whether the new version was trained without the rows.
        reads_forget_rows: whether the method may read the rows to forget.
    """
    body, record = request.body, run.record
    now = datetime.datetime.now(datetime.UTC)
    predicate = Predicate(
        request=RequestServed(
            id=str(request.number),
            received=body["received"],
            due=body["due"],
            kind=body["kind"],
            rows=body["rows"],
            reason=body["reason"] or None,
            rows_commitment=RowsCommitment(root=body["root"], key_id=body["key_id"]),
            matched_by=tuple(body["matched_by"]),
        ),
        materials=(
            *(Material(name=name, digest={"sha256": digest}) for name, digest in models.items()),
            Material(name="data before", digest={"sha256": run.data.fingerprint}),
            Material(name="data after", digest={"sha256": _retained(run)}),
            Material(name="coun", uri=f"pkg:pypi/coun@{__version__}"),
        ),
        method=MethodUsed(
            name=record.method.name,
            settings=record.method.settings,
            seed=record.seed,
            reads_forget_data=reads_forget_rows,
        ),
        cost=StatedCost(
            flops=record.cost.flops, retrain_flops=retrain_flops, seconds=record.cost.seconds
        ),
        checks=checks,
        result="FULFILLED_BY_RETRAINING" if exact else "FULFILLED",
        coverage=Coverage(covered=("model",), not_covered=_not_covered(run)),
        previous=None if previous is None else Previous(digest={"sha256": previous}),
        time_created=now,
        effective=now,
    )
    files = [Subject(name=name, digest={"sha256": digest}) for name, digest in subjects.items()]
    return Statement.model_validate({"subject": files, "predicate": predicate})


def _not_covered(run: Run) -> tuple[str, ...]:
    """What the request was not carried out on; source files only where rows are still there."""
    assert run.split is not None
    present = len(run.split.rows(run.data, "forgotten"))
    if present:
        return (f"source files ({present:,} forgotten rows are still there)", *NOT_COVERED[1:])
    return NOT_COVERED[1:]


def _retained(run: Run) -> str:
    """The SHA-256 of the sorted content hashes and labels of the retained rows."""
    assert run.split is not None
    rows = run.split.rows(run.data, "retain").numpy()
    hashes, labels = row_hashes(run.data.train)[rows], run.data.train.labels.cpu().numpy()[rows]
    contents: list[Any] = sorted(
        digest.tobytes() + int(label).to_bytes(8, "big")
        for digest, label in zip(hashes, labels, strict=True)
    )
    return hashlib.sha256(b"".join(contents)).hexdigest()
