"""A registry folder with two certificates, made by the library alone."""

from __future__ import annotations

import datetime
import hashlib
from types import SimpleNamespace

import pytest

from coun.certificates import (
    Check,
    Cost,
    Material,
    MethodUsed,
    Predicate,
    Previous,
    RequestServed,
    RowsCommitment,
    Statement,
    Subject,
    commit,
    create_key,
    issue,
    statement_digest,
)

CREATED = datetime.datetime(2026, 11, 26, 9, 12, tzinfo=datetime.UTC)
WEIGHTS = b"the weights of a model"


def make_statement(number=1, *, result="FULFILLED", checks=None, previous=None, subjects=()):
    commitment = commit([f"photos/{i}.png" for i in range(3)], bytes(32))
    passed = Check(name="test accuracy", value=91.5, interval=(90, 93), result="PASSED")
    digest = {"sha256": hashlib.sha256(WEIGHTS).hexdigest()}
    return Statement(
        subject=(Subject(name="model.safetensors", digest=digest), *subjects),
        predicate=Predicate(
            request=RequestServed(
                id=str(number),
                received=datetime.date(2026, 11, 20),
                due=datetime.date(2026, 12, 20),
                kind="listed",
                rows=3,
                reason="Art. 17 <script>alert(1)</script>",
                rows_commitment=RowsCommitment(root=commitment.root, key_id=commitment.key_id),
                matched_by=("id",),
            ),
            materials=(Material(name="coun", uri="pkg:pypi/coun@0.2.0"),),
            method=MethodUsed(name="coun", settings={"epochs": 3}, reads_forget_data=False),
            cost=Cost(flops=1e12, retrain_flops=4e12, seconds=3.5),
            checks=(passed,) if checks is None else checks,
            result=result,
            previous=previous,
            time_created=CREATED,
            effective=CREATED,
        ),
    )


@pytest.fixture(scope="session")
def registry(tmp_path_factory):
    """Paths of a registry with two certificates, of its key and of its model. Only read it."""
    folder = tmp_path_factory.mktemp("registry")
    (folder / "registry.sqlite").write_bytes(b"")
    key = folder / "keys" / "signing.pem"
    create_key(key)
    model = folder / "versions" / "2" / "model.safetensors"
    model.parent.mkdir(parents=True)
    model.write_bytes(WEIGHTS)
    first = issue(make_statement(), key, folder / "certificates" / "1")
    previous = Previous(digest={"sha256": statement_digest(first)})
    second = issue(make_statement(2, previous=previous), key, folder / "certificates" / "2")
    return SimpleNamespace(
        folder=folder,
        key=key,
        public=folder / "keys" / "signing.pem.pub",
        model=model,
        first=first,
        second=second,
    )
