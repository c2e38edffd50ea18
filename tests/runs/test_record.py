"""Run records: typed, versioned, and those of version 0.1 are still read."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

import coun
from coun.errors import CounError
from coun.models import build, load_weights, weights_digest
from coun.runs import RunRecord
from coun.runs.folder import read_record

OLD = Path(__file__).parent / "version_0_1"  # written by coun 0.1.0 on digits, limit=100


def old(name, folder, **changes):
    """Put the record that version 0.1 wrote into *folder*, which may hold weights."""
    folder.mkdir(exist_ok=True)
    content = {**json.loads((OLD / f"{name}.json").read_text()), **changes}
    (folder / "rows.parquet").unlink(missing_ok=True)  # version 0.1 wrote none
    if (folder / "model.safetensors").exists():
        net = build("mlp", classes=10, shape=(1, 8, 8))
        load_weights(net, folder / "model.safetensors")
        content["weights_sha256"] = weights_digest(net)
    (folder / "run.json").write_text(json.dumps(content))
    return folder


def chain_of_version_0_1(data, tmp_path):
    """Two runs of version 0.1: "a" forgot class 3, and "b", which started from it, class 5."""
    folders = [tmp_path / name for name in ("a", "b")]
    for seed, folder in enumerate(folders):
        coun.train(data, "mlp", epochs=1, seed=seed, out=folder)
    first = json.loads(old("unlearned", folders[0]).joinpath("run.json").read_text())
    one_class = coun.Split.by_class(data, "5")
    places = one_class.forget  # digits are numbered as in version 0.1
    second = {
        "scenario": {"kind": "class", "name": "5"},
        "seed": None,
        "forget_class": 5,
        "forget_count": len(places),
        "retain_count": len(one_class.retain),
        "sha256": one_class.digest,
        "forget": places.tolist(),
    }
    parent = {"folder": "elsewhere/a", "method": "coun", "weights_sha256": first["weights_sha256"]}
    return old("unlearned", folders[1], split=second, parent=parent)


def test_a_chain_of_version_0_1_keeps_what_its_ancestors_forgot(data, tmp_path):
    run = coun.Run.open(chain_of_version_0_1(data, tmp_path))
    assert run.split.forgotten_classes == (3, 5)
    assert torch.equal(run.split.earlier, coun.Split.by_class(data, "3").forget)
    again = coun.unlearn(run, coun.Split.by_class(data, "7"), "finetune", epochs=1)
    assert again.split.forgotten_classes == (3, 5, 7)


def test_a_lost_parent_of_version_0_1_is_said(data, tmp_path, caplog):
    folder = chain_of_version_0_1(data, tmp_path)
    shutil.rmtree(tmp_path / "a")
    assert coun.Run.open(folder).split.forgotten_classes == (5,)
    assert "parents forgot is not on record" in caplog.text


@pytest.fixture(scope="module")
def data():
    return coun.load("digits", limit=100)


def test_a_misspelt_key_is_refused(original):
    with pytest.raises(ValidationError, match="seeed"):
        RunRecord.model_validate({**original.record.to_json(), "seeed": 1})


def test_a_record_survives_json(original, split):
    record = coun.unlearn(original, split, "coun", epochs=1).record
    assert RunRecord.model_validate(json.loads(json.dumps(record.to_json()))) == record


def test_the_keys_of_version_0_1_are_still_there(original):
    record = original.record
    assert record["cost"]["seconds"] == record.cost.seconds
    assert "preparation_cost" not in record
    assert record.get("weights_sha256") == record.weights_sha256


@pytest.mark.parametrize("name", ["original", "unlearned"])
def test_a_folder_of_version_0_1_opens(name, data, tmp_path):
    coun.train(data, "mlp", epochs=1, out=tmp_path / "run")
    run = coun.Run.open(old(name, tmp_path / "run"))
    assert run.record.cost.steps == 2
    assert run.record.kind == name
    assert (run.split is not None) == (name == "unlearned")
    coun.evaluate(run)


def test_what_version_0_1_spent_before_the_request_is_read(tmp_path):
    content = json.loads((OLD / "sisa.json").read_text())
    content["prior_cost"] = content["cost"]
    (tmp_path / "run.json").write_text(json.dumps(content))
    record = read_record(tmp_path)
    assert record.preparation_cost == record.cost


def test_a_finished_command_of_version_0_1_is_not_repeated(data, tmp_path, monkeypatch):
    coun.train(data, "mlp", epochs=1, out=tmp_path / "run")
    old("original", tmp_path / "run")
    monkeypatch.setattr("coun.engine.loop.Engine.run", None)
    run = coun.train(data, "mlp", epochs=1, out=tmp_path / "run")
    assert run.record.finished == "2026-11-25T21:34:26+00:00"


def test_an_interrupted_run_of_version_0_1_is_refused_in_one_line(data, tmp_path):
    folder = old("interrupted", tmp_path / "run")
    for call in (
        lambda: coun.Run.open(folder),
        lambda: coun.train(data, "mlp", epochs=2, seed=5, out=folder),
    ):
        with pytest.raises(CounError, match="did not finish; .*delete the folder") as caught:
            call()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"version": 3}, "of version 3"), ({"seed": "x"}, "seed"), ({"sed": 1}, "sed: Extra inputs")],
)
def test_another_version_or_a_damaged_key_is_one_line(original, tmp_path, change, words):
    (tmp_path / "run.json").write_text(json.dumps({**original.record.to_json(), **change}))
    with pytest.raises(CounError, match=words) as caught:
        read_record(tmp_path)
    assert "\n" not in str(caught.value)
