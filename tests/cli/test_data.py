"""`coun data`: decoded images, and the data sets of the paper."""

from dataclasses import replace
from pathlib import Path

import coun
from coun.data import public


def test_the_command_lists_and_clears(coun_command, write_photos, tmp_path, monkeypatch):
    monkeypatch.setenv("COUN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("coun.data.sources.table.SMALLEST", 1)
    photos = write_photos(train=6, test=3)
    coun.load(f"folder:{photos}")
    document = coun_command("data", "cache", "--json").json
    assert sum(entry["images"] for entry in document["entries"]) == 18
    assert "up to date" in coun_command("data", "cache").out
    assert coun_command("data", "cache", photos, "--clear", "--json").json["freed_bytes"] > 0
    assert coun_command("data", "cache", "--json").json["entries"] == []
    monkeypatch.setenv("COUN_CACHE", "none")
    assert "COUN_CACHE is none" in coun_command("data", "cache").out


def test_where_and_check(coun_command, tmp_path, monkeypatch):
    entries = coun_command("data", "where", "--json").json
    assert [entry["name"] for entry in entries] == ["cifar-10", "cifar-100", "tiny-imagenet"]
    assert "c32a1d4ab5d03f1284b67883e8d87530" in coun_command("data", "where", "cifar-10").out
    assert "did you mean 'cifar-10'" in coun_command("data", "where", "cifar10").err
    archive = tmp_path / "a.tar.gz"
    archive.write_bytes(b"abc")
    assert (
        "has 3 bytes; expected 170,052,171"
        in coun_command("data", "check", "cifar-10", archive).err
    )
    facts = replace(public.SETS["cifar-10"], bytes=3, md5="900150983cd24fb0d6963f7d28e17f72")
    monkeypatch.setitem(public.SETS, "cifar-10", facts)
    assert "whole copy" in coun_command("data", "check", "cifar-10", archive).out
    archive.write_bytes(b"abd")
    assert "MD5" in coun_command("data", "check", "cifar-10", archive).err
    assert "does not exist" in coun_command("data", "check", "cifar-10", "none").err
    other = coun_command("data", "check", "cifar-10", "digits:")
    assert (other.code, other.err.count("\n")) == (2, 1)
    facts = replace(facts, train=20, test=10, shape=(3, 32, 32))
    monkeypatch.setitem(public.SETS, "cifar-10", facts)
    small = "synthetic:noise,train={},test=10"
    assert (
        "2 training rows in each class"
        in coun_command("data", "check", "cifar-10", small.format(20)).out
    )
    wrong = coun_command("data", "check", "cifar-10", small.format(21)).err
    assert "has 21 training rows; cifar-10 has 20" in wrong
    many = coun_command("data", "check", "cifar-10", small.format(1000)).err
    assert "has 1,000 training rows" in many


def test_the_page_has_the_same_facts():
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text()
    for facts in public.SETS.values():
        for text in (facts.archive, f"{facts.bytes:,}", facts.md5, f"{facts.train:,}"):
            assert text in page
