"""Bad input: one line, exit code 2, nothing overwritten."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

TRAIN = ["train", "--data", "digits", "--limit", "100", "--model", "cnn", "--epochs", "1"]


@pytest.fixture
def trained(coun_command, tmp_path: Path) -> Path:
    assert coun_command(*TRAIN, "--out", "o").code == 0
    return tmp_path / "o"


def refuse(result, *words: str) -> None:
    assert result.code == 2
    *before, message = result.err.splitlines()
    assert message.startswith("coun: ")
    assert not before or before[0].startswith("request: "), result.err
    assert "Traceback" not in result.err
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["trian"], ["train"]),
        (["train", "--data", "digits", "--out", "x"], ["--model"]),
        (["train", "--data", "digts", "--model", "cnn", "--out", "x"], ["digts", "'digits'"]),
        (["train", "--data", "hf:nowhere/at/all", "--model", "cnn", "--out", "x"], ["nowhere"]),
        (["train", "--data", "digits", "--model", "cn", "--out", "x"], ["'cn'", "'cnn'"]),
        (
            ["train", "--data", "digits", "--limit", "0", "--model", "cnn", "--out", "x"],
            ["--limit is 0", "1..1438"],
        ),
        ([*TRAIN, "--out", "x", "--limit", "200"], ["--limit is given twice"]),
        ([*TRAIN, "--out", "x", "--set", "lr"], ["--set 'lr'", "key=value"]),
        ([*TRAIN, "--out", "x", "--set", "lr=1,seed=2"], ["repeat --set", "--set lr=1 --set seed"]),
        ([*TRAIN, "--out", "x", "--set", "lr=-1"], ["lr", "-1", "greater than 0"]),
        ([*TRAIN, "--out", "x", "--set", "learning=1"], ["unknown setting 'learning'"]),
        ([*TRAIN, "--out", "x", "--set", "epochs=2"], ["given twice"]),
        ([*TRAIN, "--out", "x", "--keep-every", "2"], ["keep_every is 2", "1 epochs"]),
        ([*TRAIN, "--out", "x", "--clients", "2", "--folds", "2"], ["leave", "--clients"]),
        ([*TRAIN, "--out", "x", "--folds", "101"], ["101 folds of 100 groups"]),
        ([*TRAIN, "--out", "x", "--folds", "2", "--groups", "no.csv"], ["no.csv"]),
        ([*TRAIN, "--out", "x", "--clients", "2", "--partition", "iid:3"], ["iid:3"]),
        ([*TRAIN, "--out", "x", "--clients", "2", "--partition", "dirichlet:inf"], ["alpha"]),
        ([*TRAIN, "--out", "x", "--forget-fraction", "1"], ["between 0 and 1"]),
        ([*TRAIN, "--out", "x", "--forget-fraction", "0.999"], ["leaves nothing"]),
        ([*TRAIN, "--out", "x", "--forget-class", "ten"], ["unknown class 'ten'"]),
        ([*TRAIN, "--out", "x", "--forget-class", "1", "--forget-worst", ".1"], ["worst_case"]),
        ([*TRAIN, "--out", "x", "--forget-index", "no.txt"], ["no.txt"]),
        ([*TRAIN, "--out", "x", "--device", "tpu9"], ["tpu9"]),
        ([*TRAIN, "--out", "x", "--device", "mps"], ["'mps' cannot be used here", "--device auto"]),
        ([*TRAIN, "--out", "x", "--head", "nose"], ["nose"]),
        (["unlearn", "nowhere", "--method", "coun", "--out", "x"], ["nowhere"]),
        (["evaluate", "nowhere"], ["nowhere", "run folder"]),
        (["rows", "~nobody-of-this-name/run"], ["no such user"]),
        (["rows", "\x1b[31mred"], ["'\\x1b[31mred'"]),
        (["rows", "photo\u202egnp.exe"], ["photo\\u202egnp.exe"]),
    ],
)
def test_refused_in_one_line(coun_command, tmp_path: Path, words, expected) -> None:
    refuse(coun_command(*words), *expected)
    assert not (tmp_path / "x").exists()


def test_an_index_that_is_not_there_or_named_twice(coun_command, trained, tmp_path) -> None:
    for text, word in (
        ("99999", "99999"),
        ("7\n7", "2 times"),
        ("7\n-1", "-1"),
        ("seven", "seven"),
    ):
        (tmp_path / "ids.txt").write_text(text)
        words = ("unlearn", "o", "--method", "coun", "--forget-index", "ids.txt", "--out", "x")
        refuse(coun_command(*words), word)


def test_another_run_is_never_overwritten(coun_command, trained: Path, tmp_path: Path) -> None:
    before = {p.name: p.read_bytes() for p in trained.iterdir()}
    refuse(coun_command(*TRAIN, "--seed", "1", "--out", "o"), "another run", "seed")
    assert {p.name: p.read_bytes() for p in trained.iterdir()} == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    refuse(coun_command(*TRAIN, "--out", "mine"), "not empty")
    (tmp_path / "file").write_text("x")
    refuse(coun_command(*TRAIN, "--out", "file"), "is a file")


def test_a_damaged_run_is_refused(coun_command, trained: Path) -> None:
    weights = trained / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-10])
    refuse(coun_command("evaluate", "o"), "model.safetensors")
    weights.write_bytes(whole)
    record = trained / "run.json"
    text = record.read_text()
    record.write_text(text[:100])
    refuse(coun_command("evaluate", "o"), "run.json")
    record.write_text(text.replace('"cnn"', '"mlp"', 1))
    refuse(coun_command("evaluate", "o"), "run.json was changed")


def test_changed_data_is_noticed(coun_command, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {
        "x_train": rng.integers(0, 256, (40, 8, 8), dtype=np.uint8),
        "y_train": np.arange(40) % 2,
        "x_test": rng.integers(0, 256, (10, 8, 8), dtype=np.uint8),
        "y_test": np.arange(10) % 2,
    }
    np.savez(tmp_path / "d.npz", **arrays)
    words = ("train", "--data", "npz:d.npz", "--model", "cnn", "--epochs", 1, "--out", "o")
    assert coun_command(*words).code == 0
    arrays["x_train"][0, 0, 0] ^= 1
    np.savez(tmp_path / "d.npz", **arrays)
    refuse(coun_command("evaluate", "o"), "differs from what the run recorded", "'0'")


def test_gap_needs_the_same_split(coun_command, trained: Path) -> None:
    for seed, out in ((0, "r"), (1, "s")):
        words = (*TRAIN, "--forget-fraction", ".2", "--forget-seed", seed, "--out", out)
        assert coun_command(*words).code == 0
    refuse(coun_command("evaluate", "r", "--against", "s"), "same request")
    refuse(coun_command("evaluate", "r", "--against", "o"), "trained on all rows")


def test_a_diverging_run_says_what_to_try(coun_command, trained: Path, tmp_path: Path) -> None:
    words = ("unlearn", "o", "--method", "finetune", "--forget-class", "1", "--set", "lr=1e15")
    refuse(coun_command(*words, "--set", "epochs=3", "--out", "x"), "lower lr")
    assert not (tmp_path / "x" / "model.safetensors").exists()


@pytest.mark.parametrize("every", ["0", "60"])
def test_a_full_disk_is_one_line_and_leaves_no_weights(
    tmp_path: Path, unmeasured: dict[str, str], every: str
) -> None:
    # A limit on file size fails a write like a full disk does, wherever it comes from.
    script = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000));"
        "from coun.cli import main; sys.exit(main())"
    )
    words = [*TRAIN, "--checkpoint-every", every, "--out", "x"]
    command = [sys.executable, "-c", script, *words]
    done = subprocess.run(command, cwd=tmp_path, env=unmeasured, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
    assert "cannot write" in done.stderr
    assert {p.name for p in (tmp_path / "x").iterdir()} <= {"run.json", "checkpoint"}
    assert not list((tmp_path / "x" / "checkpoint").iterdir())


def test_what_cannot_work_is_refused_before_the_request_is_printed(
    coun_command, trained, tmp_path, monkeypatch
):
    (tmp_path / "file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    words = ("unlearn", "o", "--method", "finetune", "--forget-fraction", "0.1", "--out")
    for out, message in (
        ("file/x", "cannot write file/x: Not a directory"),
        ("file", "is a file; expected a folder"),
        ("full", "is not empty and not a run folder; choose another --out"),
    ):
        result = coun_command(*words, out)
        refuse(result, message)
        assert "request" not in result.err
    # The tests may run as root, who may write anywhere.
    monkeypatch.setattr("os.access", lambda path, mode: not mode & os.W_OK)
    result = coun_command(*words, "new/x")
    refuse(result, "cannot write new/x: Permission denied")
    assert "request" not in result.err
    refuse(coun_command(*TRAIN, "--out", "x"), "cannot write x: Permission denied")


def test_a_method_of_images_is_refused_for_texts_before_the_request(coun_command, tmp_path):
    ids = np.random.default_rng(0).integers(0, 9, (20, 4))
    labels = np.arange(20) % 2
    np.savez(tmp_path / "t.npz", x_train=ids, y_train=labels, x_test=ids, y_test=labels)
    data = ("--data", "npz:t.npz", "--model", "text", "--epochs", 1)
    assert coun_command("train", *data, "--out", "o").code == 0
    for name in ("unsir", "amun"):
        words = ("unlearn", "o", "--method", name, "--forget-fraction", "0.2", "--out", "u")
        result = coun_command(*words)
        refuse(result, f"{name} moves inputs along gradients, which token ids do not have")
        assert "request" not in result.err


def test_a_method_that_the_user_names_is_trusted(coun_command, trained, tmp_path):
    (tmp_path / "own_method.py").write_text(
        "from coun.methods.finetune import FineTune\n"
        "class Own(FineTune):\n    name = 'own'\n    source = 'a test'\n"
    )
    words = ("--epochs", 1, "--forget-fraction", "0.1", "--out", "u")
    result = coun_command("unlearn", "o", "--method", "./own_method.py:Own", *words)
    assert result.code == 0, result.err
    assert "unlearned by own" in result.out


def test_a_path_that_leads_nowhere_is_refused(coun_command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    refuse(coun_command(*TRAIN, "--out", "loop"), "cannot write loop")
    refuse(coun_command(*TRAIN, "--out", ""), "a path is empty; expected the name")
    refuse(coun_command("evaluate", "loop"), "loop does not exist")
    assert [path.name for path in tmp_path.iterdir()] == ["loop"]


def test_no_command_writes_its_results_into_the_folder_of_another_run(coun_command, trained):
    before = {path: path.read_bytes() for path in trained.iterdir()}
    request = ("--method", "finetune", "--forget-fraction", "0.1", "--out")
    (trained.parent / "link").symlink_to(trained)
    for words in (
        (*TRAIN, "--out", "o/x"),
        (*TRAIN, "--out", "link/deep/x"),
        ("unlearn", "o", *request, "o/folds-of-mine"),
        ("audit", "o", "--forget-fraction", "0.1", "--out", "o"),
        ("audit", "o", "--forget-fraction", "0.1", "--out", "o/audit"),
        ("bench", "demo", "--out", "o/bench"),
        ("registry", "init", "o/registry", "--from", "o"),
    ):
        refuse(coun_command(*words), f"lies inside the run folder {trained}; expected a place")
    assert {path: path.read_bytes() for path in trained.iterdir()} == before
