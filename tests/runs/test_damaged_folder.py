"""A run folder that is damaged, edited or mixed up is named in one line and not believed."""

import json
import shutil
from dataclasses import replace

import pytest
from runs.folders import content

import coun
from coun.errors import CounError
from coun.files import write_sealed
from coun.runs.folder import read_record


def change_record(folder, **changes):
    """Change the record as its writer would have: with the checksum of the new content."""
    content = json.loads((folder / "run.json").read_text())
    del content["sha256"]
    write_sealed(folder / "run.json", {**content, **changes})


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"format": 99}', "\x00"])
def test_a_damaged_record_is_one_line(folder, digits200, damage, refused):
    (folder / "run.json").write_text(damage)
    before = content(folder)
    for call in (
        lambda: coun.Run.open(folder),
        lambda: coun.train(digits200, "mlp", epochs=1, out=folder),
    ):
        with refused("run.json"):
            call()
    assert content(folder) == before


@pytest.mark.parametrize("cut", [0, 7, 100, -1])
def test_cut_weights_are_one_line(folder, cut):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(
        CounError, match="is not a safetensors file, or is damaged|is empty; was it"
    ) as caught:
        coun.Run.open(folder)
    assert "\n" not in str(caught.value)


def test_missing_weights_are_one_line(folder, refused):
    (folder / "model.safetensors").unlink()
    with refused("no such file"):
        coun.Run.open(folder)


def test_weights_of_another_architecture_are_one_line(folder, refused):
    change_record(folder, model={**read_record(folder)["model"], "name": "cnn"})
    with refused("is a checkpoint of another architecture"):
        coun.Run.open(folder)


def test_changed_data_is_named_by_row_in_one_line(folder, digits200, refused):
    images = digits200.train.images.clone()
    images[7] = 255 - images[7]
    changed = replace(digits200, train=replace(digits200.train, images=images))
    row = digits200.ids[7]
    with refused("differs from what the run recorded", row):
        coun.Run.open(folder, data=changed)


@pytest.mark.parametrize("where", ["nowhere", "empty"])
def test_no_run_at_all_is_one_line(tmp_path, where, refused):
    (tmp_path / "empty").mkdir()
    with refused("expected a run folder written by coun"):
        coun.Run.open(tmp_path / where)


@pytest.mark.parametrize(
    ("part", "value"), [("kind", "retrain"), ("seed", 7), ("history", []), ("identity", "0")]
)
def test_an_edited_record_is_noticed(folder, digits200, part, value, refused):
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**record, part: value}))
    for use in (coun.Run.open, coun.runs.history):
        with refused("run.json was changed"):
            use(folder)


def test_a_record_without_a_checksum_is_said_to_be_unverified(folder, caplog):
    record = json.loads((folder / "run.json").read_text())
    del record["sha256"]
    (folder / "run.json").write_text(json.dumps(record))
    assert not coun.Run.open(folder).record.verified
    assert "its content is unverified" in caplog.text


def test_swapped_weights_are_one_line(folder, digits200, tmp_path, refused):
    coun.train(digits200, "mlp", epochs=1, seed=8, out=tmp_path / "other")
    shutil.copy(tmp_path / "other" / "model.safetensors", folder)
    with refused("does not hold the weights that the run"):
        coun.Run.open(folder)


@pytest.fixture
def unlearned(folder, digits200):
    out = folder.parent / "u"
    coun.unlearn(folder, coun.Split.by_class(digits200, "3"), "finetune", epochs=1, out=out)
    return out


def test_the_weights_file_of_an_unlearned_run_is_refused(unlearned, folder, digits200, refused):
    with refused("is a run folder; name the folder"):
        coun.Run.from_weights(unlearned / "model.safetensors", digits200, "mlp")
    coun.Run.from_weights(folder / "model.safetensors", digits200, "mlp")  # it forgot nothing


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"split": None}, "not which rows it forgot"),
        ({"split": None, "kind": "original"}, "differ in the role of 20 row"),
    ],
)
def test_a_request_that_was_removed_from_the_record_is_refused(unlearned, change, words, refused):
    change_record(unlearned, **change)
    with refused(words):
        coun.Run.open(unlearned)


@pytest.mark.parametrize(
    "split",
    [
        {"request": 0.5},
        {"request": [{"kind": []}], "forget": [], "earlier": [], "sha256": "0"},
        {"request": [], "forget": [], "sha256": "0"},
        {"forget_count": "many"},
    ],
)
def test_a_damaged_request_in_the_record_is_one_line(folder, split):
    change_record(folder, split=split)
    for use in (coun.Run.open, coun.runs.history):
        with pytest.raises(CounError) as caught:
            use(folder)
        assert "\n" not in str(caught.value)


def test_a_registry_in_place_of_a_run_is_named(tmp_path):
    folder = tmp_path / "my requests"
    folder.mkdir()
    (folder / "registry.sqlite").touch()
    with pytest.raises(CounError, match="is a registry; name one of its versions") as caught:
        coun.Run.open(folder)
    assert f"coun registry show '{folder}'" in str(caught.value)
