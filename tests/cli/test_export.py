from __future__ import annotations

import json

import pyarrow
import pyarrow.parquet

TRAIN = ["train", "--data", "digits", "--limit", "40", "--model", "mlp", "--epochs", "1"]


def test_a_table_is_exported_with_its_columns(coun_command, tmp_path):
    rows = [f"{n % 7},{'ab'[n % 3 == 0]},{'no' if n % 2 else 'yes'}" for n in range(40)]
    (tmp_path / "people.csv").write_text("\n".join(["age,job,label", *rows]))
    words = ["train", "--data", f"table:{tmp_path / 'people.csv'}", "--model", "mlp"]
    assert coun_command(*words, "--epochs", "1", "--out", "o").code == 0
    assert coun_command("export", "o", "served").code == 0
    document = json.loads((tmp_path / "served" / "preprocessing.json").read_text())
    age, job = document["preprocessing"]["columns"]
    assert (age["name"], set(age)) == ("age", {"name", "mean", "std"})
    assert job == {"name": "job", "categories": ["a", "b"]}


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
        (("o", "new", "--to", "hf"), "is not a model of transformers"),
        (("nowhere", "new"), "nowhere"),
    ):
        result = coun_command("export", *words)
        assert (result.code, len(result.err.splitlines())) == (2, 1)
        assert expected in result.err


def test_a_model_of_texts_is_exported(coun_command, tmp_path):
    table = pyarrow.table({"input_ids": [[1, 2 + n % 3] for n in range(40)], "label": [0, 1] * 20})
    pyarrow.parquet.write_table(table, tmp_path / "texts.parquet")
    words = ["train", "--data", f"tokens:{tmp_path / 'texts.parquet'}", "--model", "text"]
    assert coun_command(*words, "--epochs", "1", "--out", "o").code == 0
    assert coun_command("export", "o", "served", "--json").json["input"]["dtype"] == "int64"
