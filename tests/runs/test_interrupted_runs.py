"""A run that is interrupted or fails leaves nothing half done, and the same call goes on."""

import errno
import os
import shutil

import pytest

import coun
from coun.errors import CounError
from coun.files import locked
from coun.runs.folder import read_record, reserved, write_record

EAGER = coun.Options(checkpoint_every=0)


def test_an_interrupted_run_says_how_to_go_on(tmp_path, digits200, killed_at):
    def call():
        return coun.train(digits200, "mlp", epochs=1, out=tmp_path / "run", options=EAGER)

    with killed_at(2):
        call()
    assert read_record(tmp_path / "run", complete=False).status == "running"
    with pytest.raises(CounError, match="is not finished; repeat its command to resume it"):
        coun.Run.open(tmp_path / "run")
    with pytest.raises(CounError, match=r"it differs in seed\)"):
        coun.train(digits200, "mlp", epochs=1, out=tmp_path / "run", seed=1)
    call()
    assert coun.Run.open(tmp_path / "run").record["status"] == "complete"


def test_a_cut_checkpoint_is_one_line(tmp_path, digits200, killed_at, refused):
    def call():
        return coun.train(digits200, "mlp", epochs=1, out=tmp_path / "run", options=EAGER)

    with killed_at(2):
        call()
    path = tmp_path / "run/checkpoint/step.safetensors"
    path.write_bytes(path.read_bytes()[:200])
    with refused("is damaged; delete", "checkpoint to start"):
        call()
    for file in path.parent.iterdir():
        file.unlink()
    path.parent.rmdir()
    assert call().record["status"] == "complete"


@pytest.mark.parametrize("failing", ["replace", "fsync"])
@pytest.mark.parametrize("writes", range(4))
def test_a_full_disk_is_one_line_and_the_run_goes_on_later(
    tmp_path, digits200, monkeypatch, failing, writes
):
    # One epoch writes the claim, checkpoints, the weights and the record.
    real, left = getattr(os, failing), [writes * 2]

    def full(*args):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*args)

    def call():
        return coun.train(digits200, "mlp", epochs=1, out=tmp_path / "run", options=EAGER)

    with monkeypatch.context() as patch, pytest.raises(CounError) as caught:
        patch.setattr(os, failing, full)
        call()
    assert str(caught.value).startswith("cannot write ")
    assert "No space left on device" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("*.tmp"))
    assert not (tmp_path / "run" / "model.safetensors").exists()
    whole = coun.train(digits200, "mlp", epochs=1)
    assert call().record["weights_sha256"] == whole.record["weights_sha256"]


def test_a_run_that_fails_before_anything_is_saved_gives_its_folder_back(
    finished, tmp_path, digits200
):
    out, request = tmp_path / "run", coun.Split.random(digits200, 0.1)
    wrong = {"second_view_labels": 1, "second_view_gradient": False}
    with pytest.raises(CounError, match="leave one of them out"):
        coun.unlearn(finished, request, "coun", epochs=1, out=out, **wrong)
    assert not out.exists()
    run = coun.unlearn(finished, request, "coun", epochs=1, out=out, second_view_labels=1)
    assert run.record["status"] == "complete"


def test_a_diverging_run_leaves_no_weights(tmp_path, digits200):
    with pytest.raises(CounError, match="expected a finite number"):
        coun.train(digits200, "mlp", epochs=5, lr=1e9, out=tmp_path / "run", options=EAGER)
    assert not (tmp_path / "run" / "model.safetensors").exists()
    with pytest.raises(CounError, match="is not finished"):
        coun.Run.open(tmp_path / "run")


def test_the_weights_of_the_last_update_are_checked_too(tmp_path, digits200):
    # One update: its loss is finite, the weights that it leaves are not.
    with pytest.raises(CounError, match="finite"):
        coun.train(
            digits200,
            "mlp",
            epochs=1,
            batch_size=200,
            lr=1e39,
            schedule="constant",
            warmup=0,
            out=tmp_path / "run",
        )
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_a_finished_run_is_rid_of_what_a_late_kill_left(finished, tmp_path):
    record = read_record(finished)
    shutil.copytree(finished, tmp_path / "run")
    before = sorted(os.listdir(tmp_path / "run"))
    (tmp_path / "run" / "checkpoint").mkdir()
    for name in (".lock", "checkpoint/step.safetensors", ".run.json.a1b2c3d4.tmp"):
        (tmp_path / "run" / name).touch()
    with locked(tmp_path / "run"), reserved(tmp_path / "run", record) as complete:
        assert complete
        assert "checkpoint" in os.listdir(tmp_path / "run")  # another process holds the lock
    with reserved(tmp_path / "run", record) as complete:
        assert complete
    assert sorted(os.listdir(tmp_path / "run")) == before


def test_a_killed_process_leaves_no_temporary_files(tmp_path, digits200):
    (tmp_path / "run" / "checkpoint").mkdir(parents=True)
    for name in (".run.json.a1b2c3d4.tmp", ".lock", "checkpoint/.step.safetensors.a1b2c3d4.tmp"):
        (tmp_path / "run" / name).touch()
    with pytest.raises(CounError, match="is not empty and not a run folder"):
        coun.train(digits200, "mlp", epochs=1, out=tmp_path / "run")
    record = coun.train(digits200, "mlp", epochs=1).record
    write_record(tmp_path / "run", record.model_copy(update={"status": "running"}))
    coun.train(digits200, "mlp", epochs=1, out=tmp_path / "run")
    assert sorted(os.listdir(tmp_path / "run")) == ["model.safetensors", "rows.parquet", "run.json"]
