"""The file against the specifications of DSSE and in-toto, and the signature against another
implementation."""

import base64
import json

import pytest
from certificates.conftest import make_statement
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from coun.certificates import (
    DISCLAIMER,
    countersign,
    create_key,
    issue,
    statement_digest,
    verify,
)
from coun.certificates.page import FROM_SCRATCH, model_card
from coun.certificates.statement import Check
from coun.errors import CounError
from coun.report.table import Grid


def test_the_signature_is_of_the_bytes_that_dsse_prescribes(registry):
    """DSSEv1 SP len(type) SP type SP len(body) SP body, written out by hand."""
    envelope = json.loads(registry.first.read_text())
    body = base64.b64decode(envelope["payload"])
    kind = b"application/vnd.in-toto+json"
    assert envelope["payloadType"].encode() == kind
    signed = b"DSSEv1 28 " + kind + b" " + str(len(body)).encode() + b" " + body
    key = load_pem_public_key(registry.public.read_bytes())
    [signature] = envelope["signatures"]
    key.verify(base64.b64decode(signature["sig"]), signed)  # raises if it is wrong
    assert key.public_bytes_raw().hex() == signature["publicKey"]


def test_the_statement_has_the_keys_of_the_specification(registry):
    statement = json.loads(base64.b64decode(json.loads(registry.second.read_text())["payload"]))
    assert set(statement) == {"_type", "subject", "predicateType", "predicate"}
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"].endswith("/unlearning/v1")
    predicate = statement["predicate"]
    assert set(predicate) == {
        *("request", "materials", "method", "cost", "checks", "result", "coverage", "previous"),
        *("timeCreated", "effective", "statement"),
    }
    assert set(predicate["request"]) == {
        *("id", "received", "due", "kind", "rows", "reason", "rowsCommitment", "matchedBy")
    }
    assert set(predicate["request"]["rowsCommitment"]) == {"alg", "root", "keyId"}
    assert set(predicate["method"]) == {"name", "settings", "seed", "readsForgetData"}
    assert set(predicate["cost"]) == {"flops", "retrainFlops", "seconds"}
    assert predicate["coverage"]["notCovered"]
    assert predicate["previous"] == {"digest": {"sha256": statement_digest(registry.first)}}
    assert predicate["statement"] == DISCLAIMER


def test_a_second_signature(registry, tmp_path):
    keys = [tmp_path / "a.pem", tmp_path / "b.pem"]
    for key in keys:
        create_key(key)
    path = issue(make_statement(), keys[0], tmp_path / "certificate")
    digest = statement_digest(path)
    countersign(path, keys[1])
    assert statement_digest(path) == digest
    verification = verify(path, keys=[f"{key}.pub" for key in keys])
    assert not verification.tampered
    assert len(verification.keyids) == 2
    page = (path.parent / "certificate.html").read_text()
    assert all(keyid in page for keyid in verification.keyids)
    with pytest.raises(CounError, match="has signed"):
        countersign(path, keys[1])
    both = issue(make_statement(), keys, tmp_path / "both")
    assert verify(both).keyids == verification.keyids


def test_a_changed_certificate_is_not_signed_again(registry, tmp_path):
    path = tmp_path / "certificate.intoto.json"
    path.write_text(registry.first.read_text().replace("eyJ", "eyK", 1))
    create_key(tmp_path / "b.pem")
    with pytest.raises(CounError, match="not signed again"):
        countersign(path, tmp_path / "b.pem")


def test_a_certificate_is_never_overwritten(registry):
    with pytest.raises(CounError, match="never overwritten"):
        issue(make_statement(), registry.key, registry.first.parent)


def test_the_page_escapes_what_it_is_given(registry):
    page = (registry.first.parent / "certificate.html").read_text()
    assert "<script>" not in page
    assert "Art. 17 &lt;script&gt;" in page
    assert DISCLAIMER in page
    assert "coun verify certificate.intoto.json" in page
    assert page.count("<caption>") == page.count("<table")
    assert "http" not in page


@pytest.mark.parametrize(("power", "shown"), [(None, ""), (1, "1 row"), (24, "24 rows")])
def test_the_page_says_what_a_test_could_find_where_one_says_it(registry, tmp_path, power, shown):
    checks = (Check(name="audit", result="PASSED", detectable_rows=power),)
    path = issue(make_statement(checks=checks), registry.key, tmp_path / "c")
    page = (path.parent / "certificate.html").read_text()
    assert ("could find" in page) == ("Could find: how many" in page) == bool(shown)
    assert f"<td>{shown}</td>" in page or not shown


def test_a_value_is_shown_with_the_unit_of_its_limit():
    limits = {"retain accuracy between 89.7% and 100.0%": "99.32%", "remembered share": "99.32"}
    shown = {name: Check(name=name, value=99.32, result="PASSED").shown for name in limits}
    assert shown == limits
    assert Check(name="audit: inconclusive", result="WARNED").shown == ""


def test_a_page_aligns_words_to_the_left_and_gives_the_cost_a_unit():
    facts = Grid.of(["", ""], [["Method", "coun"]]).markdown.splitlines()
    numbers = Grid.of(["", "gap"], [["FT", "2.00"]]).markdown.splitlines()
    words = Grid.of(["test", "result"], [["audit", "PASSED"]], words=True).markdown.splitlines()
    assert (facts[1], numbers[1], words[1]) == ("| --- | --- |", "| --- | ---: |", "| --- | --- |")
    card = model_card(make_statement())
    assert "1.0 TFLOP (floating-point operations), 0.25 of a Retrain" in card


def with_checks(*checks: tuple[str, str], result: str = "FULFILLED"):
    statement = make_statement()
    made = tuple(Check(name=name, result=outcome) for name, outcome in checks)
    predicate = statement.predicate.model_copy(update={"checks": made, "result": result})
    return statement.model_copy(update={"predicate": predicate})


def test_a_certificate_whose_only_passed_tests_are_accuracies_says_that_none_shows_forgetting():
    none, accuracy = (
        "None shows that the rows are forgotten.",
        ("test accuracy at least 9%", "PASSED"),
    )
    unsure = ("remembered share at most 0.5", "WARNED")
    for checks, says in (
        ([accuracy, unsure], True),
        ([accuracy], True),
        ([], True),
        ([accuracy, unsure, ("audit: no difference found", "PASSED")], False),
        ([("remembered share at most 0.5", "PASSED"), ("audit: inconclusive", "WARNED")], False),
    ):
        assert (none in model_card(with_checks(*checks))) == says
    retrained = ("trained from scratch without the rows", "PASSED")
    assert none not in model_card(with_checks(retrained, result="FULFILLED_BY_RETRAINING"))


def test_a_page_explains_warnings_and_the_remembered_share_where_they_are():
    unsure = model_card(with_checks(("remembered share at most 0.5", "WARNED")))
    assert "and not memory" not in unsure
    exact = (FROM_SCRATCH, "PASSED")
    assert "and not memory" in model_card(
        with_checks(("remembered share at most 0.5", "WARNED"), exact)
    )
    assert "harder, such as rows with wrong labels" in unsure
    assert "WARNED: the test did not fail" in unsure
    sure = model_card(with_checks(("audit: equivalent", "PASSED")))
    assert "wrong labels" not in sure
    assert "WARNED" not in sure
