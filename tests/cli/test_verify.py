"""`coun verify`: exit codes, words and JSON."""

import shutil

import pytest
from certificates.conftest import make_statement, registry

from coun.certificates import Check, create_key, issue

__all__ = ["registry"]


def test_what_is_genuine(coun_command, registry):
    result = coun_command(
        "verify", registry.second, "--model", registry.model, "--registry", registry.folder
    )
    assert result.code == 0, result.err
    assert "✓ PASSED" in result.out
    assert "unanchored" in result.out
    assert "to forget 3 rows was fulfilled" in " ".join(result.out.split())
    assert "not a proof that no trace remains" in result.out


def test_without_a_trusted_key_it_says_so(coun_command, registry):
    result = coun_command("verify", registry.first)
    assert result.code == 0
    assert "! WARNED  signer" in result.out
    assert "who holds key" in result.out


def test_json(coun_command, registry):
    result = coun_command("verify", registry.first, "--json", "--key", registry.public)
    assert result.code == 0
    assert result.json["tampered"] is False
    assert result.json["statement"]["predicate"]["request"]["rows"] == 3
    assert {check["name"] for check in result.json["checks"]} >= {"signature", "signer", "time"}


def test_tampering_is_exit_code_4(coun_command, registry, tmp_path):
    changed = tmp_path / "c.json"
    changed.write_text(registry.first.read_text().replace("eyJ", "eyK", 1))
    result = coun_command("verify", changed)
    assert result.code == 4
    assert "NOT GENUINE" in result.out
    assert "signature" in result.out
    other = tmp_path / "model.safetensors"
    other.write_bytes(b"another model")
    result = coun_command("verify", registry.first, "--model", other, "--json")
    assert result.code == 4
    assert [c["name"] for c in result.json["checks"] if c["result"] == "FAILED"] == ["model"]


def test_a_failed_request_is_exit_code_3(coun_command, registry, tmp_path):
    checks = (Check(name="a test", result="FAILED"),)
    statement = make_statement(result="FAILED", checks=checks)
    path = issue(statement, registry.key, tmp_path / "c")
    result = coun_command("verify", path)
    assert result.code == 3
    assert "was NOT fulfilled" in result.out


@pytest.mark.parametrize("content", [b"", b"garbage", b"{}"])
def test_garbage_is_exit_code_2(coun_command, tmp_path, content):
    (tmp_path / "c.json").write_bytes(content)
    result = coun_command("verify", "c.json")
    assert result.code == 2
    assert result.out == ""
    assert result.err.startswith("coun: c.json is not a certificate")
    assert len(result.err.splitlines()) == 1


def test_a_second_signature(coun_command, registry, tmp_path):
    path = shutil.copy(registry.first, tmp_path / "certificate.intoto.json")
    create_key(tmp_path / "officer.pem")
    result = coun_command("countersign", path, "--key", "officer.pem")
    assert result.code == 0, result.err
    assert "signed by 2 keys" in result.out
    keys = ("--key", registry.public, "--key", "officer.pem.pub")
    assert coun_command("verify", path, *keys).code == 0
    assert coun_command("countersign", path, "--key", "officer.pem").code == 2
    path.write_text(path.read_text().replace("eyJ", "eyK", 1))
    assert coun_command("countersign", path, "--key", "officer.pem").code == 4


def test_a_model_card(coun_command, registry, tmp_path):
    assert coun_command("verify", registry.first, "--card", "card.md").code == 0
    card = (tmp_path / "card.md").read_text()
    assert card.startswith("## Unlearning")
    assert "<script>" not in card
    assert coun_command("verify", registry.first, "--card", "card.md").code == 2
