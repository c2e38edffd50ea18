from __future__ import annotations

TRAIN = ["train", "--data", "digits", "--limit", "40", "--model", "mlp", "--epochs", "1"]


def test_a_run_is_exported_without_its_data(coun_command, tmp_path):
    assert coun_command(*TRAIN, "--out", "o").code == 0
    result = coun_command("export", "o", "served", "--json")
    assert result.code == 0, result.err
    assert result.json["classes"][3] == "3"
    assert sorted(p.name for p in (tmp_path / "served").iterdir()) == [
        "model.safetensors",
        "preprocessing.json",
    ]
    for words, expected in (
        (("o", "served"), "served exists"),
        (("o", "new", "--to", "hf"), "is no model of transformers"),
        (("nowhere", "new"), "nowhere"),
    ):
        result = coun_command("export", *words)
        assert (result.code, len(result.err.splitlines())) == (2, 1)
        assert expected in result.err
