"""`coun rows` shows the names that requests use."""

from __future__ import annotations

import json

import pytest
from PIL import Image

import coun
from coun.cli.rows import _print_rows


@pytest.fixture
def photos(write_photos):
    return write_photos(name="{label}{number}.png", train=6, test=2)


def test_rows_are_listed_and_found(coun_command, photos):
    result = coun_command("rows", "folder:photos", "--limit-shown", 3)
    assert result.code == 0
    assert "cat0.png" in result.out
    assert "3 of 16 rows" in result.out
    document = json.loads(coun_command("rows", "folder:photos", "--find", "DOG3", "--json").out)
    assert document["rows"] == 1
    (row,) = document["shown"]
    data = coun.load(f"folder:{photos}")
    assert data.ids[data.train.numbers.tolist().index(row["number"])] == row["id"]
    assert (row["label"], row["part"]) == ("dog", "train")


def test_a_name_that_turns_the_direction_of_writing_is_shown_as_it_is(coun_command, photos):
    (photos / "train" / "cat" / "cat0.png").rename(photos / "train" / "cat" / "x\u202egnp.png")
    result = coun_command("rows", "folder:photos", "--find", "x", "--out", "ids.txt")
    assert "x\\u202egnp.png" in result.out
    assert "\u202e" not in result.out
    words = ("train", "--data", "folder:photos", "--model", "mlp", "--set", "epochs=1")
    trained = coun_command(*words, "--forget-ids", "ids.txt", "--out", "retrain")
    assert trained.code == 0, trained.err  # the file of ids has the name itself
    assert "ids: train/cat/x\\u202egnp.png" in trained.err


def test_rows_of_pictures_of_different_sizes_are_listed(coun_command, photos, tmp_path):
    (photos / "train" / "dog" / "dog9.png").write_bytes(b"not a picture")
    Image.new("L", (40, 20)).save(photos / "train" / "cat" / "cat9.png")
    words = ("rows", "folder:photos", "--find", "9")
    result = coun_command(*words, "--out", "ids.txt")
    assert result.code == 0, result.err
    assert (tmp_path / "ids.txt").read_text() == "train/cat/cat9.png\ntrain/dog/dog9.png\n"
    assert "--size" in coun_command(*words, "--out", "sheet.html").err


def test_the_rows_like_a_picture_come_first(coun_command, photos, tmp_path):
    picture = photos / "train" / "dog" / "dog4.png"
    words = ("rows", "folder:photos", "--like", picture, "--limit-shown", 4)
    document = json.loads(coun_command(*words, "--json", "--out", "sheet.html").out)
    assert document["shown"][0]["id"].endswith("dog4.png")
    assert document["shown"][0]["distance"] == 0
    assert (tmp_path / "sheet.html").read_text().count("<figure>") == 4
    assert coun_command(*words, "--out", "sheet.png").code == 0
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size[0] > 500
    assert coun_command(*words, "--out", "ids.txt").code == 0
    ids = coun.data.read_ids(tmp_path / "ids.txt")
    data = coun.load(f"folder:{photos}")
    assert set(ids) <= {*data.ids, *data.test.ids}


def test_features_of_a_run_are_compared(coun_command, photos):
    coun.train(coun.load("folder:photos"), "mlp", epochs=1, out="o")
    picture = photos / "train" / "cat" / "cat2.png"
    words = ("rows", "folder:photos", "--like", picture, "--features", "o", "--json")
    shown = json.loads(coun_command(*words).out)["shown"]
    assert shown[0]["id"].endswith("cat2.png")
    assert shown[0]["distance"] == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--find", "cow"], "no row"),
        (["--features", "o"], "--like"),
        (["--find", "cat", "--like", "x.png"], "one of them"),
        (["--out", "sheet.jpg"], ".png, .html or .txt"),
        (["--like", "none.png"], "none.png"),
    ],
)
def test_what_cannot_be_meant_is_refused(coun_command, photos, words, message):
    result = coun_command("rows", "folder:photos", *words)
    assert result.code == 2
    assert message in result.err
    assert result.err.count("\n") == 1


def test_the_rows_of_a_run_are_its_own_with_the_request_that_forgot_each(coun_command, photos):
    data = coun.load("folder:photos")
    coun.train(data, "mlp", epochs=1, out="o")
    first = coun.Split.by_id(data, ["train/cat/cat1.png", "test/dog/dog0.png"])
    coun.unlearn("o", first, "finetune", epochs=1, out="a")
    coun.unlearn("a", coun.Split.by_id(data, ["train/dog/dog2.png"]), "finetune", epochs=1, out="b")
    (photos / "train" / "cat" / "cat1.png").unlink()
    document = coun_command("rows", "b", "--json", "--limit-shown", 4).json
    assert document["rows"] == 16
    words = {row["id"]: (row["number"], row["forgotten_by"]) for row in document["shown"]}
    assert words["train/cat/cat1.png"] == (1, "step 2, 2 rows listed by id")
    assert words["train/dog/dog2.png"] == (8, "step 3, 1 row listed by id")
    assert words["test/dog/dog0.png"] == (2, "left out of measurements")
    assert "step 3, 1 row" in coun_command("rows", "b", "--find", "dog2").out
    refused = coun_command("rows", "b", "--limit", 3)
    assert (refused.code, refused.err.count("\n")) == (2, 1)


def test_brackets_and_dollars_in_names_are_shown_as_they_are(coun_command, photos, tmp_path):
    (photos / "train" / "cat" / "cat1.png").rename(photos / "train" / "cat" / "[red]$x$_{^.png")
    assert "[red]$x$_{^.png" in coun_command("rows", "folder:photos", "--find", "[red]").out
    assert coun_command("rows", "folder:photos", "--find", "[red]", "--out", "s.png").code == 0


def test_rows_with_suspicious_labels_are_listed(coun_command, photos, tmp_path) -> None:
    folds = ("--folds", 2, "--repeats", 1, "--fold-epochs", 1)
    train = ("train", "--data", "folder:photos", "--model", "mlp", "--epochs", 1)
    assert coun_command(*train, *folds, "--out", "o").code == 0
    done = coun_command("rows", "o", "--suspicious", "--json", "--out", "wrong.txt")
    rows = coun.suspicious_labels(coun.Run.open(tmp_path / "o"))
    assert json.loads(done.out)["shown"] == [vars(row) for row in rows]
    assert (tmp_path / "wrong.txt").read_text() == "".join(f"{row.id}\n" for row in rows)
    assert f"of {len(rows)} suspicious rows" in coun_command("rows", "o", "--suspicious").out
    refused = coun_command("rows", "folder:photos", "--suspicious")
    assert refused.code == 2
    assert "needs a run folder" in refused.err


def test_only_runs_with_hashed_ids_say_that_ids_cannot_be_read(coun_command, photos):
    words = ("train", "--data", "folder:photos", "--model", "mlp", "--set", "epochs=1")
    assert coun_command(*words, "--out", "run").code == 0
    result = coun_command("rows", "run", "--find", "nobody")
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert "leave out --find to see ids" in result.err
    assert "readable" not in result.err


def test_ids_of_test_rows_that_would_name_training_rows_are_not_written(
    coun_command, tmp_path
) -> None:
    """Test row 12 of the digits is called 12, and so is a training row."""
    coun_command("train", "--data", "digits", "--model", "mlp", "--set", "epochs=1", "--out", "run")
    for number, source in enumerate(("digits", "run")):
        out = tmp_path / f"ids-{number}.txt"
        printed = coun_command("rows", source, "--find", "12", "--out", out)
        expected = [str(row) for row in range(1438) if "12" in str(row)]
        assert out.read_text().split() == expected
        tests = sum("12" in str(row) for row in range(359))
        assert f"{len(expected)} ids written to {out}; {tests} test rows left out" in printed.err
        words = ("train", "--data", "digits", "--model", "mlp", "--set", "epochs=1")
        assert coun_command(*words, "--forget-ids", out, "--out", f"retrain-{number}").code == 0


def test_ids_of_test_rows_that_have_names_are_written(coun_command, photos, tmp_path) -> None:
    coun_command("train", "--data", "folder:photos", "--model", "mlp", "--set", "epochs=1",
                 "--out", "run")  # fmt: skip
    for source in ("folder:photos", "run"):
        out = tmp_path / f"{source[:3]}.txt"
        coun_command("rows", source, "--find", "cat1", "--out", out)
        assert sorted(out.read_text().split()) == ["test/cat/cat1.png", "train/cat/cat1.png"]


def test_a_short_id_is_not_broken_where_other_columns_can_be(capsys) -> None:
    name = "hmac:3f363571:1459449a…"
    lines = [("10121", name, "automobile", "train", "step 2, 68 rows listed " * 3)]
    _print_rows(("number", "id", "class", "part", "forgotten by"), lines)
    assert name in capsys.readouterr().out
