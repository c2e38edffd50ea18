"""A run folder: written whole, read back exactly, never mixed up or half believed."""

import errno
import json
import os
import shutil
from dataclasses import replace

import pytest
import torch
from torch import nn

import coun
from coun.errors import CounError
from coun.files import locked, write_sealed
from coun.models import weights_digest
from coun.runs.folder import read_record, reserved, write_record
from coun.runs.metrics_record import read_metrics

EAGER = coun.Options(checkpoint_every=0)


@pytest.fixture(scope="module")
def digits200():
    """Digits cut by their own loader, so that a folder can load them again."""
    return coun.load("digits", limit=200)


@pytest.fixture(scope="module")
def finished(digits200, tmp_path_factory):
    """A finished Original. Copy it before changing it."""
    folder = tmp_path_factory.mktemp("runs") / "original"
    coun.train(digits200, "mlp", epochs=1, out=folder)
    return folder


@pytest.fixture
def folder(finished, tmp_path):
    for name in os.listdir(finished):
        (tmp_path / "run").mkdir(exist_ok=True)
        (tmp_path / "run" / name).write_bytes((finished / name).read_bytes())
    return tmp_path / "run"


@pytest.fixture
def no_training(monkeypatch):
    def fail(*args):
        raise AssertionError("trained")

    monkeypatch.setattr("coun.engine.loop.Engine.run", fail)


def content(folder):
    return {p.name: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def change_record(folder, **changes):
    """Change the record as its writer would have: with the checksum of the new content."""
    content = json.loads((folder / "run.json").read_text())
    del content["sha256"]
    write_sealed(folder / "run.json", {**content, **changes})


def one_line(caught):
    assert "\n" not in str(caught.value)
    return True


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


def test_a_second_call_with_a_net_of_ones_own(small, tmp_path, monkeypatch):
    def make():
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

    first = coun.train(small, make, epochs=1, out=tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr("coun.engine.loop.Engine.run", None)
        again = coun.train(small, make, epochs=1, out=tmp_path / "run")
    assert weights_digest(again.model) == first.record["weights_sha256"]
    with pytest.raises(CounError, match="pass data=") as caught:
        coun.Run.open(tmp_path / "run")
    assert one_line(caught)
    with pytest.raises(CounError, match="holds a module passed in Python") as caught:
        coun.Run.open(tmp_path / "run", data=small)
    assert one_line(caught)


def test_another_start_of_ones_own_is_another_run(small, tmp_path):
    torch.manual_seed(0)
    one, two = (nn.Sequential(nn.Flatten(), nn.Linear(64, 10)) for _ in range(2))
    coun.train(small, one, epochs=1, out=tmp_path / "run")
    with pytest.raises(CounError, match="holds another run"):
        coun.train(small, two, epochs=1, out=tmp_path / "run")


@pytest.mark.parametrize(
    ("change", "named"), [({"seed": 1}, "seed"), ({"epochs": 2}, "method"), ({"lr": 0.2}, "method")]
)
def test_another_run_in_the_folder_is_refused_and_nothing_changes(folder, digits200, change, named):
    before = content(folder)
    with pytest.raises(CounError, match=f"holds another run .*{named}") as caught:
        coun.train(digits200, "mlp", out=folder, **{"epochs": 1, **change})
    assert one_line(caught)
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


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"format": 99}', "\x00"])
def test_a_damaged_record_is_one_line(folder, digits200, damage):
    (folder / "run.json").write_text(damage)
    before = content(folder)
    for call in (
        lambda: coun.Run.open(folder),
        lambda: coun.train(digits200, "mlp", epochs=1, out=folder),
    ):
        with pytest.raises(CounError, match=r"run\.json") as caught:
            call()
        assert one_line(caught)
    assert content(folder) == before


@pytest.mark.parametrize("cut", [0, 7, 100, -1])
def test_cut_weights_are_one_line(folder, cut):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(
        CounError, match="is not a safetensors file, or is damaged|is empty; was it"
    ) as caught:
        coun.Run.open(folder)
    assert one_line(caught)


def test_missing_weights_are_one_line(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(CounError, match="no such file") as caught:
        coun.Run.open(folder)
    assert one_line(caught)


def test_weights_of_another_architecture_are_one_line(folder):
    change_record(folder, model={**read_record(folder)["model"], "name": "cnn"})
    with pytest.raises(CounError, match="is a checkpoint of another architecture") as caught:
        coun.Run.open(folder)
    assert one_line(caught)


def test_changed_data_is_named_by_row_in_one_line(folder, digits200):
    images = digits200.train.images.clone()
    images[7] = 255 - images[7]
    changed = replace(digits200, train=replace(digits200.train, images=images))
    row = digits200.ids[7]
    with pytest.raises(CounError, match=f"differs from what the run recorded.*{row}") as caught:
        coun.Run.open(folder, data=changed)
    assert one_line(caught)


@pytest.mark.parametrize("where", ["nowhere", "empty"])
def test_no_run_at_all_is_one_line(tmp_path, where):
    (tmp_path / "empty").mkdir()
    with pytest.raises(CounError, match="expected a run folder written by coun") as caught:
        coun.Run.open(tmp_path / where)
    assert one_line(caught)


def interrupt(monkeypatch, call, saves=1):
    """Call *call* and stop it by Ctrl-C after its first checkpoints."""
    from coun.engine import Checkpoint

    real, left = Checkpoint.save, [saves]

    def save(self, *args):
        real(self, *args)
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Checkpoint, "save", save)
        call()


def test_an_interrupted_run_says_how_to_go_on(tmp_path, digits200, monkeypatch):
    def call():
        return coun.train(digits200, "mlp", epochs=1, out=tmp_path / "run", options=EAGER)

    interrupt(monkeypatch, call)
    assert read_record(tmp_path / "run", complete=False).status == "running"
    with pytest.raises(CounError, match="is not finished; repeat its command to resume it"):
        coun.Run.open(tmp_path / "run")
    with pytest.raises(CounError, match=r"it differs in seed\)"):
        coun.train(digits200, "mlp", epochs=1, out=tmp_path / "run", seed=1)
    call()
    assert coun.Run.open(tmp_path / "run").record["status"] == "complete"


def test_a_cut_checkpoint_is_one_line(tmp_path, digits200, monkeypatch):
    def call():
        return coun.train(digits200, "mlp", epochs=1, out=tmp_path / "run", options=EAGER)

    interrupt(monkeypatch, call)
    path = tmp_path / "run/checkpoint/step.safetensors"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(CounError, match="is damaged; delete .*checkpoint to start") as caught:
        call()
    assert one_line(caught)
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
    assert one_line(caught)
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


@pytest.mark.parametrize(
    ("part", "value"), [("kind", "retrain"), ("seed", 7), ("history", []), ("identity", "0")]
)
def test_an_edited_record_is_noticed(folder, digits200, part, value):
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**record, part: value}))
    for use in (coun.Run.open, coun.runs.history):
        with pytest.raises(CounError, match=r"run\.json was changed") as caught:
            use(folder)
        assert one_line(caught)


def test_a_record_without_a_checksum_is_said_to_be_unverified(folder, caplog):
    record = json.loads((folder / "run.json").read_text())
    del record["sha256"]
    (folder / "run.json").write_text(json.dumps(record))
    assert not coun.Run.open(folder).record.verified
    assert "its content is unverified" in caplog.text


def test_swapped_weights_are_one_line(folder, digits200, tmp_path):
    coun.train(digits200, "mlp", epochs=1, seed=8, out=tmp_path / "other")
    shutil.copy(tmp_path / "other" / "model.safetensors", folder)
    with pytest.raises(CounError, match="does not hold the weights that the run") as caught:
        coun.Run.open(folder)
    assert one_line(caught)


@pytest.fixture
def unlearned(folder, digits200):
    out = folder.parent / "u"
    coun.unlearn(folder, coun.Split.by_class(digits200, "3"), "finetune", epochs=1, out=out)
    return out


def test_the_weights_file_of_an_unlearned_run_is_refused(unlearned, folder, digits200):
    with pytest.raises(CounError, match="is a run folder; name the folder") as caught:
        coun.Run.from_weights(unlearned / "model.safetensors", digits200, "mlp")
    assert one_line(caught)
    coun.Run.from_weights(folder / "model.safetensors", digits200, "mlp")  # it forgot nothing


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"split": None}, "not which rows it forgot"),
        ({"split": None, "kind": "original"}, "differ in the role of 20 row"),
    ],
)
def test_a_request_that_was_removed_from_the_record_is_refused(unlearned, change, words):
    change_record(unlearned, **change)
    with pytest.raises(CounError, match=words) as caught:
        coun.Run.open(unlearned)
    assert one_line(caught)


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
        assert one_line(caught)


def test_a_run_inside_another_run_is_refused_from_wherever_it_is_named(
    folder, digits200, monkeypatch
):
    monkeypatch.chdir(folder)
    for place in ("inner", "../run/inner", folder / "folds-2" / "inner"):
        with pytest.raises(CounError, match="lies inside the run folder") as caught:
            coun.train(digits200, "mlp", epochs=1, out=place)
        assert one_line(caught)
    assert sorted(os.listdir(folder)) == ["model.safetensors", "rows.parquet", "run.json"]


def test_a_file_of_another_program_called_run_json_makes_no_run_folder(tmp_path, digits200):
    (tmp_path / "run.json").write_text('{"jobs": 3}')
    assert coun.train(digits200, "mlp", epochs=1, out=tmp_path / "inner").folder


def test_a_registry_in_place_of_a_run_is_named(tmp_path):
    folder = tmp_path / "my requests"
    folder.mkdir()
    (folder / "registry.sqlite").touch()
    with pytest.raises(CounError, match="is a registry; name one of its versions") as caught:
        coun.Run.open(folder)
    assert f"coun registry show '{folder}'" in str(caught.value)
