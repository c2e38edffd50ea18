"""A run folder: written whole, read back exactly, and reserved for one run."""

import os

import pytest
import torch
from runs.folders import content
from torch import nn

import coun
from coun.errors import CounError
from coun.files import locked
from coun.models import weights_digest
from coun.runs.folder import read_record, reserved, write_record
from coun.runs.metrics_record import read_metrics


@pytest.fixture
def no_training(monkeypatch):
    def fail(*args):
        raise AssertionError("trained")

    monkeypatch.setattr("coun.engine.loop.Engine.run", fail)


def test_a_finished_folder_holds_weights_and_a_record(folder):
    assert sorted(os.listdir(folder)) == ["model.safetensors", "rows.parquet", "run.json"]


def test_open_restores_the_run(folder, digits200):
    run = coun.Run.open(folder)
    assert run.data.fingerprint == digits200.fingerprint
    assert run.split is None
    assert weights_digest(run.model) == run.record["weights_sha256"]
    assert coun.evaluate(run) == read_metrics(folder / "metrics.json").to_json()


def test_open_restores_the_split(finished, tmp_path, digits200):
    split = coun.Split.by_class(digits200, "3")
    coun.unlearn(finished, split, "finetune", epochs=1, out=tmp_path / "run", data=digits200)
    run = coun.Run.open(tmp_path / "run")
    assert run.split.digest == split.digest
    assert run.split.forget_class == 3
    assert run.record["parent"]["folder"] == str(finished)


def test_a_second_call_returns_the_run_without_training(folder, digits200, no_training):
    before = content(folder)
    run = coun.train(digits200, "mlp", epochs=1, out=folder)
    assert content(folder) == before
    assert weights_digest(run.model) == run.record["weights_sha256"]


def test_a_second_call_with_a_net_of_ones_own(small, tmp_path, monkeypatch, refused):
    def make():
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

    first = coun.train(small, make, epochs=1, out=tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr("coun.engine.loop.Engine.run", None)
        again = coun.train(small, make, epochs=1, out=tmp_path / "run")
    assert weights_digest(again.model) == first.record["weights_sha256"]
    with refused("pass data="):
        coun.Run.open(tmp_path / "run")
    with refused("holds a module passed in Python"):
        coun.Run.open(tmp_path / "run", data=small)


def test_another_start_of_ones_own_is_another_run(small, tmp_path):
    torch.manual_seed(0)
    one, two = (nn.Sequential(nn.Flatten(), nn.Linear(64, 10)) for _ in range(2))
    coun.train(small, one, epochs=1, out=tmp_path / "run")
    with pytest.raises(CounError, match="holds another run"):
        coun.train(small, two, epochs=1, out=tmp_path / "run")


@pytest.mark.parametrize(
    ("change", "named"), [({"seed": 1}, "seed"), ({"epochs": 2}, "method"), ({"lr": 0.2}, "method")]
)
def test_another_run_in_the_folder_is_refused_and_nothing_changes(
    folder, digits200, change, named, refused
):
    before = content(folder)
    with refused("holds another run", named):
        coun.train(digits200, "mlp", out=folder, **{"epochs": 1, **change})
    assert content(folder) == before


def test_another_request_in_the_folder_is_refused(finished, tmp_path, digits200):
    out, seeds = tmp_path / "run", (0, 1)
    first, second = (coun.Split.random(digits200, 0.1, seed=s) for s in seeds)
    coun.unlearn(finished, first, "finetune", epochs=1, out=out)
    before = content(out)
    with pytest.raises(CounError, match=r"it differs in split\)"):
        coun.unlearn(finished, second, "finetune", epochs=1, out=out)
    with pytest.raises(CounError, match=r"it differs in method\)"):
        coun.unlearn(finished, first, "coun", epochs=1, out=out)
    assert content(out) == before


def test_other_files_are_not_written_over(tmp_path, small):
    (tmp_path / "thesis.tex").write_text("...")
    with pytest.raises(CounError, match="is not empty and not a run folder"):
        coun.train(small, "mlp", epochs=1, out=tmp_path)
    with pytest.raises(CounError, match="is a file; expected a folder"):
        coun.train(small, "mlp", epochs=1, out=tmp_path / "thesis.tex")
    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_a_folder_is_reserved_for_one_run(finished, tmp_path):
    record = read_record(finished)
    started = record.model_copy(update={"status": "running"})
    for _ in range(2):
        with reserved(tmp_path / "run", started) as complete:
            assert not complete
            second = reserved(tmp_path / "run", started)
            with pytest.raises(CounError, match="another process is writing"):
                second.__enter__()
        assert read_record(tmp_path / "run", complete=False).status == "running"
        assert os.listdir(tmp_path / "run") == ["run.json"]
    write_record(tmp_path / "run", record)
    with reserved(tmp_path / "run", started) as complete, locked(tmp_path / "run"):
        assert complete
    other = reserved(tmp_path / "run", record.model_copy(update={"identity": "b"}))
    with pytest.raises(CounError, match="differs in its environment"):
        other.__enter__()


def test_a_run_inside_another_run_is_refused_from_wherever_it_is_named(
    folder, digits200, monkeypatch, refused
):
    monkeypatch.chdir(folder)
    for place in ("inner", "../run/inner", folder / "folds-2" / "inner"):
        with refused("lies inside the run folder"):
            coun.train(digits200, "mlp", epochs=1, out=place)
    assert sorted(os.listdir(folder)) == ["model.safetensors", "rows.parquet", "run.json"]


def test_a_file_of_another_program_called_run_json_makes_no_run_folder(tmp_path, digits200):
    (tmp_path / "run.json").write_text('{"jobs": 3}')
    assert coun.train(digits200, "mlp", epochs=1, out=tmp_path / "inner").folder
