"""Runs whose data was moved, or has lost the rows that had to go."""

import json
import shutil
from dataclasses import replace

import pytest
import torch

import coun
from coun.errors import CounError


@pytest.fixture
def photos(tmp_path, monkeypatch, write_photos):
    """A folder of pictures, two classes, in the present directory."""
    monkeypatch.chdir(tmp_path)
    write_photos(train=10, test=4)
    coun.train(coun.load("folder:photos"), "mlp", epochs=1, out="o")
    return tmp_path / "photos"


def unlearn(method="finetune", ids=("train/cat/00.png",), start="o", out="u", **settings):
    run = coun.Run.open(start, allow_missing=True)
    split = coun.Split.by_id(run.data, ids, earlier=run.split)
    return coun.unlearn(run, split, method, epochs=1, out=out, **settings)


def ids_of(photos):
    return coun.load("folder:photos").ids


def test_moved_data_is_found_where_the_caller_says(photos):
    first = ids_of(photos)[0]
    unlearn(ids=[first])
    photos.rename(photos.with_name("elsewhere"))
    with pytest.raises(CounError, match="say where it is now with --data"):
        coun.evaluate("u")
    moved = coun.evaluate("u", data="folder:elsewhere")
    assert moved["counts"]["forget"] == 1
    assert coun.unlearn("o", None or coun.Run.open("u", data="folder:elsewhere").split,
                        "finetune", epochs=1, data="folder:elsewhere")  # fmt: skip


def test_a_deleted_picture_is_fine_for_what_reads_retained_rows(photos):
    first = ids_of(photos)[0]
    before = unlearn(ids=[first]).record.weights_sha256
    (photos / "train" / "cat" / "00.png").unlink()
    result = coun.evaluate("u")
    assert result["unlearn_accuracy"] is None
    assert "deleted" in result["not_measured"]["unlearn_accuracy"]
    assert result["test_accuracy"] is not None
    again = coun.unlearn("o", coun.Run.open("u").split, "finetune", epochs=1)
    assert again.record.weights_sha256 == before
    with pytest.raises(CounError, match="neggrad reads the rows to forget.*deleted") as caught:
        coun.unlearn("u", coun.Run.open("u").split, "neggrad", epochs=1)
    assert "\n" not in str(caught.value)


def test_a_deleted_test_picture_is_named_and_the_rest_is_measured(photos, caplog):
    (photos / "test" / "cat" / "02.png").unlink()
    result = coun.evaluate("o")
    assert result["counts"]["test"] == 7
    assert "1 test row is missing, 'test/cat/02.png'; measurements use the 7" in caplog.text


def test_test_pictures_of_a_forgotten_class_go_with_it(photos, caplog):
    run = coun.Run.open("o")
    coun.unlearn(run, coun.Split.by_class(run.data, "cat"), "finetune", epochs=1, out="u")
    for part in ("train", "test"):
        shutil.rmtree(photos / part / "cat")
    assert coun.evaluate("u")["counts"]["test"] == 4
    assert "missing" not in caplog.text
    (photos / "test" / "dog" / "02.png").unlink()
    coun.evaluate("u")
    assert "u: 1 test row is missing, 'test/dog/02.png'; measurements use the 3" in caplog.text


def test_a_picture_may_be_deleted_before_the_request(photos):
    names = ids_of(photos)
    (photos / "train" / "cat" / "00.png").unlink()
    with pytest.raises(CounError, match=names[0]):
        coun.Run.open("o")
    run = unlearn(ids=[names[0]])
    assert len(run.split.missing(run.data)) == 1
    exact = coun.unlearn("u", None, "retrain", epochs=1, out="r")
    result = coun.evaluate("u", against=exact)
    assert result["average_gap"] is None
    assert set(result["gap"]) == {"retain_accuracy", "test_accuracy"}
    # A month later another one goes; the numbers of all others stay.
    (photos / "train" / "dog" / "03.png").unlink()
    gone = [name for name in names if name.endswith("dog/03.png")]
    second = unlearn(ids=gone, start="u", out="u2")
    assert len(second.split.forget) == 2
    numbers = second.data.train.numbers.tolist()
    assert [names[n] for n in numbers] == list(second.data.ids)


def test_another_change_is_named_by_row(photos):
    name = ids_of(photos)[5]
    (photos / "train" / "cat" / "05.png").unlink()
    with pytest.raises(CounError, match=name) as caught:
        coun.evaluate("o")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("asked_before", [True, False])
def test_an_ensemble_retrains_the_shards_of_deleted_rows(photos, asked_before):
    data = coun.load("folder:photos")
    coun.train(data, "mlp", method="sisa", shards=3, slices=1, epochs=1, out="s")
    numbers, split = data.train.numbers, coun.Split.by_id(data, [data.ids[0]])
    whole = coun.unlearn("s", split, "sisa", out="w")
    if asked_before:
        start = "w"
        names = [data.ids[0], data.ids[1]]
    else:
        start, names = "s", [data.ids[0]]
    for name in names:
        (photos / name if (photos / name).exists() else photos / "train" / name).unlink()
    run = coun.Run.open(start, allow_missing=True)
    last = coun.Split.by_id(run.data, [names[-1]], earlier=run.split)
    thin = coun.unlearn(run, last, "sisa")
    assert len(thin.model.place) == len(numbers) - len(names)
    trained = {row["stage"] for row in thin.record.history}
    assert len(trained) == 1  # only the shard that had learned from the row
    if not asked_before:
        assert trained == {row["stage"] for row in whole.record.history}


def test_python_data_and_modules_open_again(small, split, tmp_path):
    def make():
        return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))

    coun.train(small, make, epochs=1, out=tmp_path / "o")
    run = coun.unlearn(tmp_path / "o", split, "finetune", epochs=1, out=tmp_path / "u",
                       data=small, build=make)  # fmt: skip
    for build in (make, make()):
        opened = coun.Run.open(tmp_path / "u", data=small, build=build)
        assert coun.evaluate(opened)["test_accuracy"] == coun.evaluate(run)["test_accuracy"]
    with pytest.raises(CounError, match="pass build="):
        coun.Run.open(tmp_path / "u", data=small)


def test_a_run_without_a_row_table_is_compared_by_fingerprint(small, split, tmp_path):
    coun.train(small, "mlp", epochs=1, out=tmp_path / "o")
    (tmp_path / "o" / "rows.parquet").unlink()
    with pytest.raises(CounError, match="rows.parquet is missing, but the run wrote it"):
        coun.Run.open(tmp_path / "o", data=small)
    record = json.loads((tmp_path / "o" / "run.json").read_text())
    record["data"]["rows_sha256"] = ""
    del record["sha256"]
    (tmp_path / "o" / "run.json").write_text(json.dumps(record))
    coun.Run.open(tmp_path / "o", data=small)
    images = 255 - small.train.images
    changed = replace(small, train=replace(small.train, images=images))
    with pytest.raises(CounError, match="its fingerprint was"):
        coun.Run.open(tmp_path / "o", data=changed)


def test_a_changed_row_table_is_refused(small, tmp_path):
    coun.train(small, "mlp", epochs=1, out=tmp_path / "o")
    with (tmp_path / "o" / "rows.parquet").open("ab") as file:
        file.write(b"x")
    with pytest.raises(CounError, match="is not the file that the run wrote"):
        coun.Run.open(tmp_path / "o", data=small)


def test_folders_that_were_moved_together_still_know_their_start(photos):
    unlearn(ids=[ids_of(photos)[0]])
    photos.with_name("archive").mkdir()
    for name in ("o", "u"):
        shutil.move(name, f"archive/{name}")
    assert coun.evaluate("archive/u")["start"]["metrics"]["test_accuracy"] >= 0


def emptied(picture):
    picture.write_bytes(b"")


def linked_to_nowhere(picture):
    picture.unlink()
    picture.symlink_to("gone.png")


def check_that_only_forgotten_pictures_may_go(start, run, weights, photos, delete):
    """Without its forgotten pictures *run* gives the same *weights*; without another, an error."""
    again = coun.unlearn(start, coun.Run.open(run).split, "finetune", epochs=1)
    assert again.record.weights_sha256 == weights
    delete(photos / "train" / "cat" / "01.png")
    with pytest.raises(CounError, match="1 missing: 'train/cat/01.png'"):
        coun.evaluate(run)


@pytest.mark.parametrize("delete", [emptied, linked_to_nowhere])
def test_a_picture_may_be_deleted_by_emptying_its_file_or_what_it_links_to(photos, delete):
    before = unlearn(ids=[ids_of(photos)[0]]).record.weights_sha256
    delete(photos / "train" / "cat" / "00.png")
    assert "deleted" in coun.evaluate("u")["not_measured"]["unlearn_accuracy"]
    check_that_only_forgotten_pictures_may_go("o", "u", before, photos, delete)
    with pytest.raises(CounError, match="00.png is (an empty file|a link that leads nowhere)"):
        coun.load("folder:photos")


@pytest.mark.parametrize("delete", [emptied, lambda picture: picture.unlink()])
def test_a_table_of_paths_may_still_have_the_line_of_a_deleted_picture(photos, delete):
    files = sorted(photos.rglob("*.png"))
    lines = [
        f"{f.relative_to(photos)},{f.parent.name},{f.relative_to(photos).parts[0]}" for f in files
    ]
    (photos / "all.csv").write_text("\n".join(["path,label,split", *lines]) + "\n")
    coun.train(coun.load("paths:photos/all.csv"), "mlp", epochs=1, out="p")
    before = unlearn(ids=["train/cat/00.png"], start="p", out="v").record.weights_sha256
    numbers = coun.Run.open("v").data.train.numbers.tolist()
    delete(photos / "train" / "cat" / "00.png")
    opened = coun.Run.open("v")
    assert opened.data.train.numbers.tolist() == [
        n for n in numbers if n not in opened.split.forget.tolist()
    ]
    check_that_only_forgotten_pictures_may_go("p", "v", before, photos, delete)
    with pytest.raises(CounError, match="row 8: (there is no file|the file) 'train/cat/00.png'"):
        coun.load("paths:photos/all.csv")
