"""Views, mean and deviation on the command line, and starts that coun did not train."""

from __future__ import annotations

import json
import shutil

import pytest
import safetensors.torch
from optional_packages import package
from PIL import Image

from coun.models import Preprocessing, build

TRAIN = ["train", "--data", "folder:photos", "--model", "cnn", "--epochs", "1", "--out", "o"]
UNLEARN = ["--method", "finetune", "--epochs", "1", "--set", "lr=0.001", "--forget-class", "cat"]


@pytest.fixture(autouse=True)
def photos(write_photos):
    return write_photos(train=8, test=4)


def views(tmp_path, folder="o"):
    return json.loads((tmp_path / folder / "run.json").read_text())["data"]["preprocessing"]


def test_numbers_are_computed_said_and_recorded(coun_command, tmp_path):
    result = coun_command(*TRAIN)
    assert result.code == 0, result.err
    assert "computed from the training images" in result.err
    recorded = views(tmp_path)
    assert recorded["mean"] != [0.4914, 0.4822, 0.4465]
    result = coun_command("unlearn", "o", *UNLEARN, "--out", "u")
    assert result.code == 0, result.err
    assert views(tmp_path, "u") == recorded


def test_the_size_that_a_model_gives_photographs_is_said(coun_command, monkeypatch):
    monkeypatch.setattr("coun.models.preprocessing", lambda _: Preprocessing((12, 12), origin="x"))
    said = "scaled to 12x12 pixels (x); if the model has another size, give --size"
    assert said in coun_command(*TRAIN).err
    assert (
        said
        in coun_command(
            *("unlearn", "o/model.safetensors", "--model", "cnn", "--data", "folder:photos"),
            *(*UNLEARN, "--out", "u"),
        ).err
    )
    assert "scaled to" not in coun_command(*TRAIN[:-1], "p", "--size", "8").err


def test_numbers_of_the_user(coun_command, tmp_path):
    words = ("--views", "none", "--mean", "0.5,0.5,0.5", "--std", "0.25")
    result = coun_command(*TRAIN, *words)
    assert "no random changes; mean 0.5 0.5 0.5, std 0.25" in result.err
    assert (views(tmp_path)["letters"], views(tmp_path)["std"]) == ("N", [0.25])
    result = coun_command("unlearn", "o", *UNLEARN, "--out", "u", "--mean", "1")
    assert result.code == 2
    assert "come from the record" in result.err


def test_a_registry_of_given_weights(coun_command, tmp_path):
    coun_command(*TRAIN)
    shutil.copy(tmp_path / "o/model.safetensors", tmp_path / "w.safetensors")
    given = ("--weights", "w.safetensors", "--model", "cnn", "--data", "folder:photos")
    accuracy = json.loads((tmp_path / "o/metrics.json").read_text())["test_accuracy"]
    result = coun_command("registry", "init", "same", *given)
    assert "if test rows of folder:photos were among its training rows" in result.err
    assert f"the weights classify {accuracy:.1f}% of 8 test rows correctly" in result.err
    result = coun_command("registry", "init", "r", *given, "--mean", "0.5", "--std", "0.25")
    assert "mean 0.5, std 0.25" in result.err
    assert views(tmp_path, "r/versions/1")["mean"] == [0.5]
    result = coun_command("registry", "init", "x", "--from", "o", "--mean", "0.5", "--std", "0.25")
    assert (result.code, "come from the record of o" in result.err) == (2, True)
    result = coun_command("registry", "init", "x", *given[2:], "--weights", "o")
    assert (result.code, "o is a run folder; give it with --from" in result.err) == (2, True)

    # A registry stands for the version that it serves.
    listed = coun_command("rows", "r", "--find", "cat", "--json").json
    assert listed["run"] == str(tmp_path / "r/versions/1")
    assert {row["label"] for row in listed["shown"]} == {"cat"}
    assert coun_command("history", "r", "--json").json[0]["kind"] == "given"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--mean", "a,b"], "expected numbers separated by commas"),
        (["--mean", "0.5"], "--mean and --std belong together"),
        (["--views", "CX"], "unknown view letter 'X'"),
        (["--device", "gpu"], "unknown device 'gpu' (did you mean 'cuda'?)"),
        (["--set", "lrr=1"], "(did you mean 'lr'?)"),
        (["--method", "siza"], "(did you mean 'sisa'?)"),
    ],
)
def test_refused_in_one_line(coun_command, words, expected):
    result = coun_command(*TRAIN, *words)
    assert result.code == 2
    assert len(result.err.splitlines()) == 1
    assert expected in result.err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--method", "cuon"], "(did you mean 'coun'?)"),
        (["--method", "coun", "--set", "lrr=1"], "(did you mean 'lr'?)"),
    ],
)
def test_settings_are_refused_before_data_are_read(coun_command, words, expected):
    words = [
        "unlearn",
        "nowhere",
        *words,
        "--data",
        "folder:nowhere",
        "--model",
        "cnn",
        "--out",
        "u",
    ]
    result = coun_command(*words)
    assert (result.code, len(result.err.splitlines())) == (2, 1)
    assert expected in result.err


def test_a_weights_file_warns_of_test_rows_that_were_learned(coun_command, tmp_path):
    state = build("cnn", classes=2, shape=(3, 8, 8)).state_dict()
    safetensors.torch.save_file(state, tmp_path / "w.safetensors")
    words = ("unlearn", "w.safetensors", "--data", "folder:photos", "--model", "cnn")
    result = coun_command(*words, *UNLEARN, "--out", "u")
    assert result.code == 0, result.err
    assert "if test rows of folder:photos were among its training rows" in result.err


def test_a_factory_as_start_is_named(coun_command):
    result = coun_command("unlearn", "my_nets:factory", *UNLEARN, "--out", "u")
    assert (result.code, len(result.err.splitlines())) == (2, 1)
    assert "my_nets:factory does not exist (--model my_nets:factory names code)" in result.err


def test_a_hugging_face_folder_and_photographs_of_many_sizes(coun_command, tmp_path, photos):
    transformers = package("transformers")
    Image.new("RGB", (14, 18)).save(photos / "train" / "cat" / "large.png")
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8], depths=[1], layer_type="basic", num_labels=2
    )
    transformers.ResNetForImageClassification(config).save_pretrained(tmp_path / "net")
    settings = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": {"shortest_edge": 20}}
    (tmp_path / "net" / "preprocessor_config.json").write_text(json.dumps(settings))
    words = ("unlearn", "net", "--data", "folder:photos", *UNLEARN, "--out", "u")
    result = coun_command(*words)
    assert result.code == 0, result.err
    assert "mean 0.5 0.5 0.5, std 0.5 0.5 0.5 (preprocessor_config.json of the model)" in result.err
    record = json.loads((tmp_path / "u" / "run.json").read_text())
    assert record["data"]["shape"] == [3, 20, 20]
    assert record["model"]["name"] == f"hf:{tmp_path / 'net'}"
    assert coun_command("evaluate", "u").code == 0
    result = coun_command("unlearn", "net", *UNLEARN, "--out", "v")
    assert "is a Hugging Face model; give --data" in result.err
