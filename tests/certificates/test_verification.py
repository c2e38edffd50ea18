"""What is genuine passes; every kind of tampering is named."""

import base64
import hashlib
import json
import os
import random
import shutil

import pytest
from certificates.conftest import WEIGHTS, make_statement
from hypothesis import given, settings
from hypothesis import strategies as st

from coun.certificates import (
    Check,
    Previous,
    Subject,
    create_key,
    issue,
    load_key,
    load_public_key,
    verify,
)
from coun.certificates.envelope import PAYLOAD_TYPE, unsigned
from coun.errors import CounError


def results(verification):
    return {check.name: check.result for check in verification.checks}


def test_everything_known(registry):
    verification = verify(
        registry.second, model=registry.model.parent, registry=registry.folder, keys=registry.public
    )
    assert results(verification) == {
        "signature": "PASSED",
        "signer": "PASSED",
        "model": "PASSED",
        "registry": "PASSED",
        "chain": "PASSED",
        "result": "PASSED",
        "time": "WARNED",
    }
    assert "unanchored" in verification.checks[-1].message
    assert verification.statement.predicate.request.rows == 3


def test_the_certificate_and_a_model_file_alone(registry, tmp_path):
    path = shutil.copy(registry.second, tmp_path / "c.json")
    verification = verify(path, model=registry.model)
    assert not verification.tampered
    assert results(verification)["signer"] == results(verification)["chain"] == "WARNED"
    [signer] = [check for check in verification.checks if check.name == "signer"]
    assert "who holds key" in signer.message
    assert verify(registry.second.parent).keyids == verification.keyids  # a folder will do


def test_every_changed_bit_is_found(registry, tmp_path):
    """One bit in each byte of the file: the signature, or the form of the envelope, is wrong."""
    content = registry.first.read_bytes()
    path = tmp_path / "certificate.intoto.json"
    draw = random.Random(0)
    for position in range(0, len(content) - 1, 7):  # the last byte is the end of the last line
        changed = bytearray(content)
        changed[position] ^= 1 << draw.randrange(8)
        path.write_bytes(changed)
        verification = verify(path, keys=registry.public)
        assert verification.tampered, (position, bytes(changed[position - 9 : position + 9]))
        assert verification.statement is None


def test_another_model(registry, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(WEIGHTS + b"!")
    verification = verify(registry.first, model=tmp_path)
    assert [check.name for check in verification.failures] == ["model"]


def test_the_certificate_of_another_version_is_named(registry, tmp_path):
    """A request that was fulfilled again has a second certificate, which fits the new version."""
    folder = tmp_path / "registry"
    shutil.copytree(registry.folder, folder)
    newer = folder / "versions" / "3" / "model.safetensors"
    newer.parent.mkdir()
    newer.write_bytes(b"a Retrain")
    digest = {"sha256": hashlib.sha256(b"a Retrain").hexdigest()}
    statement = make_statement()
    subjects = (Subject(name="model.safetensors", digest=digest),)
    again = issue(
        statement.model_copy(update={"subject": subjects}),
        registry.key,
        folder / "certificates" / "1-2",
    )
    (failure,) = verify(registry.first, model=newer, registry=folder).failures
    assert failure.message.endswith(f"; {again.parent} certifies it")
    assert "certifies" not in verify(registry.first, model=newer).failures[0].message


def test_the_model_is_looked_for_in_the_registry(registry, tmp_path):
    folder = tmp_path / "registry"
    shutil.copytree(registry.folder, folder)
    assert results(verify(registry.first, registry=folder))["model"] == "PASSED"
    (folder / "versions" / "2" / "model.safetensors").write_bytes(b"swapped")
    verification = verify(registry.first, registry=folder)
    assert [check.name for check in verification.failures] == ["model"]


def test_another_signer(registry, tmp_path):
    create_key(tmp_path / "other.pem")
    verification = verify(registry.first, keys=tmp_path / "other.pem.pub")
    assert [check.name for check in verification.failures] == ["signer"]
    forged = issue(make_statement(9), tmp_path / "other.pem", tmp_path / "forged")
    assert not verify(forged).tampered  # alone it is a genuine certificate of the other signer
    verification = verify(forged, registry=registry.folder)
    assert [check.name for check in verification.failures] == ["signer", "registry"]


def test_the_carried_key_is_replaced(registry, tmp_path):
    create_key(tmp_path / "other.pem")
    other = load_public_key(tmp_path / "other.pem.pub")
    for keyid in (None, other.keyid):
        envelope = json.loads(registry.first.read_text())
        envelope["signatures"][0]["publicKey"] = other.keyval["public"]
        if keyid:
            envelope["signatures"][0]["keyid"] = keyid
        path = tmp_path / "c.json"
        path.write_text(json.dumps(envelope))
        for keys in (None, registry.public):
            assert verify(path, keys=keys).failures[0].name == "signature"


def test_a_certificate_of_another_registry(registry, tmp_path):
    """It has a valid signature, even by the same key, but the registry did not issue it."""
    previous = Previous(digest={"sha256": "0" * 64})
    path = issue(make_statement(7, previous=previous), registry.key, tmp_path / "c")
    verification = verify(path, registry=registry.folder)
    assert [check.name for check in verification.failures] == ["registry", "chain"]


def test_files_beside_the_certificate(registry, tmp_path):
    digest = {"sha256": "1" * 64}
    outside = tmp_path / "secret.html"
    outside.write_text("never compared")
    subjects = [Subject(name=n, digest=digest) for n in ("audit.html", "../secret.html")]
    path = issue(make_statement(subjects=subjects), registry.key, tmp_path / "c")
    assert not verify(path).tampered
    (tmp_path / "c" / "audit.html").write_text("another page")
    assert [check.message for check in verify(path).failures] == [
        "audit.html is not what was certified"
    ]


@pytest.mark.parametrize(
    ("result", "test", "expected"),
    [
        ("FULFILLED", "PASSED", "PASSED"),
        ("FULFILLED", "WARNED", "PASSED"),
        ("FULFILLED", "FAILED", "FAILED"),
        ("FULFILLED_BY_RETRAINING", "FAILED", "FAILED"),
        ("FAILED", "FAILED", "WARNED"),
    ],
)
def test_the_result_agrees_with_the_tests(registry, tmp_path, result, test, expected):
    checks = (Check(name="a test", result=test),)
    path = issue(make_statement(result=result, checks=checks), registry.key, tmp_path / "c")
    assert results(verify(path))["result"] == expected


@pytest.mark.parametrize(
    "content",
    [b"", b"garbage", b"\xff\xfe\x00", b"{}", b"[]", b'{"payload": 3}', b"[" * 100_000],
)
def test_what_is_no_certificate(tmp_path, content):
    path = tmp_path / "c.json"
    path.write_bytes(content)
    with pytest.raises(CounError, match="is not a certificate"):
        verify(path)


def test_what_is_no_file(registry, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "missing"):
        with pytest.raises(CounError, match="is not a file; expected a certificate"):
            verify(path)
    with pytest.raises(CounError, match="expected a model file"):
        verify(registry.first, model=tmp_path)
    with pytest.raises(CounError, match="is not a registry"):
        verify(registry.first, registry=tmp_path)


def signed(content, key, path, kind=PAYLOAD_TYPE):
    """Any bytes with a valid signature."""
    envelope = unsigned(content, kind)
    signer = load_key(key)
    envelope.sign(signer)
    document = envelope.to_dict()
    document["signatures"][0]["publicKey"] = signer.public_key.keyval["public"]
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize("content", [b"", b"3", b"{}", b"\xff", b"[" * 100_000, b'{"a":NaN}'])
def test_signed_bytes_that_are_no_statement(registry, tmp_path, content):
    path = signed(content, registry.key, tmp_path / "c.json")
    with pytest.raises(CounError, match="is signed, but not a certificate"):
        verify(path)


@pytest.mark.parametrize(
    "value", ['"\\ud800"', "[" * 300 + "]" * 300, '{"a":' * 500 + "1" + "}" * 500]
)
def test_values_that_cannot_be_written_again(registry, tmp_path, value):
    text = (
        make_statement()
        .to_bytes()
        .decode()
        .replace('"settings":{"epochs":3}', f'"settings":{{"a":{value}}}')
    )
    path = signed(text.encode(), registry.key, tmp_path / "c.json")
    with pytest.raises(CounError, match="is signed, but not a certificate"):
        verify(path)


def test_signed_content_of_another_type(registry, tmp_path):
    content = make_statement().to_bytes()
    path = signed(content, registry.key, tmp_path / "c.json", "text/plain")
    with pytest.raises(CounError, match="of type text/plain"):
        verify(path)


def test_unknown_keys_of_a_statement_are_ignored(registry, tmp_path):
    """As in-toto asks of every consumer."""
    statement = json.loads(make_statement().to_bytes())
    statement["predicate"]["later"] = "a key of a later version"
    path = signed(json.dumps(statement).encode(), registry.key, tmp_path / "c.json")
    assert verify(path).statement == make_statement()


def verified(path, **options):
    """What `verify` returns, or None if it says in one line that this is no certificate."""
    message = ""
    try:
        return verify(path, **options)
    except CounError as error:
        message = str(error)
    assert "\n" not in message
    return None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_any_value_at_any_key_of_a_signed_statement(registry, tmp_path_factory, data):
    """Even a signer cannot make the verifier fail otherwise than in one line."""
    statement = json.loads(make_statement().to_bytes())
    part = statement
    while True:
        key = data.draw(st.sampled_from(sorted(part)))
        if not isinstance(part[key], dict) or data.draw(st.booleans()):
            break
        part = part[key]
    part[key] = data.draw(JSON)
    folder = tmp_path_factory.getbasetemp()
    path = signed(json.dumps(statement).encode(), registry.key, folder / "any.json")
    verification = verified(path)
    assert verification is None or json.dumps(verification.to_json())


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_any_bytes_in_any_place(registry, tmp_path_factory, data):
    content = registry.first.read_bytes()
    start = data.draw(st.integers(0, len(content)))
    length = data.draw(st.integers(0, 20))
    changed = content[:start] + data.draw(st.binary(max_size=20)) + content[start + length :]
    path = tmp_path_factory.getbasetemp() / "mutated.json"
    path.write_bytes(changed)
    verification = verified(path, keys=registry.public)
    if verification is not None and not verification.tampered:
        assert json.loads(changed) == json.loads(content)


def test_an_oversized_file_is_refused(tmp_path):
    path = tmp_path / "c.json"
    with path.open("wb") as file:
        file.truncate(1 << 25)
    with pytest.raises(CounError, match="larger than"):
        verify(path)


def test_two_ways_to_write_the_same_bytes(registry, tmp_path):
    """Other base64, repeated keys and unknown keys would not change what was signed."""
    text = registry.first.read_text()
    envelope = json.loads(text)
    payload = envelope["payload"]
    assert base64.b64decode(payload + "====") == base64.b64decode(payload)
    changes = [
        text.replace(payload, payload + "===="),
        text.replace('"payload":', '"payload": "e30=", "payload":'),
        text.replace('"payload":', '"note": "", "payload":'),
    ]
    for number, changed in enumerate(changes):
        path = tmp_path / f"{number}.json"
        path.write_text(changed)
        assert [check.name for check in verify(path).failures] == ["envelope"]
