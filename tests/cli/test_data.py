"""`coun data`: decoded images, and the data sets of the paper."""

import coun


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
