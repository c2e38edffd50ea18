"""The path a user takes, and that Python gives the same numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

import coun
from coun.demo import Story
from coun.demo.digit import ForgottenDigit
from coun.demo.mistake import MODELS, Answer, Mistake, WrongRow
from coun.report import Cell, Row

TRAIN = ("train", "--data", "digits", "--limit", 300, "--model", "cnn", "--epochs", 2)
FORGET = ("--forget-fraction", 0.1, "--forget-seed", 3)


def test_shards_from_training_to_a_second_request(coun_command, tmp_path: Path) -> None:
    cut = ("--method", "sisa", "--set", "shards=3")
    (tmp_path / "ids.txt").write_text("7")
    assert coun_command(*TRAIN, *cut, "--out", "original").code == 0
    done = coun_command("unlearn", "original", "--method", "sisa", *FORGET, "--out", "a", "--json")
    assert done.code == 0, done.err
    assert done.json["method"]["settings"]["shards"] == 3
    request = ("--method", "sisa", "--forget-index", "ids.txt")
    again = coun_command("unlearn", "a", *request, "--out", "b", "--json")
    assert again.code == 0, again.err
    assert again.json["cost"]["flops"] < done.json["cost"]["flops"]
    assert coun_command(*TRAIN, "--method", "coun", "--out", "c").code == 2


def test_train_retrain_unlearn_evaluate(coun_command, tmp_path: Path) -> None:
    assert coun_command(*TRAIN, "--out", "original").code == 0
    assert coun_command(*TRAIN, *FORGET, "--seed", 5, "--out", "retrain").code == 0
    done = coun_command(
        "unlearn",
        "original",
        "--method",
        "coun",
        "--set",
        "epochs=2",
        "--set",
        "weight=0.5",
        *FORGET,
        "--seed",
        5,
        "--out",
        "forgot",
        "--json",
    )
    assert done.code == 0, done.err
    shown = coun_command("evaluate", "forgot", "--against", "retrain", "--json").json
    assert (
        json.loads((tmp_path / "forgot" / "metrics.json").read_text())["average_gap"]
        == (shown["average_gap"])
    )
    assert {"model.safetensors", "run.json", "rows.parquet", "metrics.json"} == {
        p.name for p in (tmp_path / "forgot").iterdir()
    }

    data = coun.load("digits", limit=300)
    split = coun.Split.random(data, 0.1, seed=3)
    original = coun.train(data, "cnn", epochs=2)
    retrain = coun.train(data, "cnn", epochs=2, split=split, seed=5)
    forgot = coun.unlearn(original, split, "coun", seed=5, epochs=2, weight=0.5)
    metrics = coun.evaluate(forgot, against=retrain)
    assert shown["weights_sha256"] == forgot.record["weights_sha256"]
    for name in ("retain_accuracy", "unlearn_accuracy", "test_accuracy", "mia_efficacy"):
        assert shown[name] == metrics[name]
    assert shown["average_gap"] == metrics["average_gap"]
    record = json.loads((tmp_path / "forgot" / "run.json").read_text())
    assert record["split"]["forget"] == split.forget.tolist()
    assert record["parent"]["folder"] == "original"
    assert record["seed"] == 5


def test_the_same_command_twice_gives_the_same_weights(coun_command, tmp_path: Path) -> None:
    for out in ("a", "b", "a"):
        assert coun_command(*TRAIN, "--out", out).code == 0
    a, b = ((tmp_path / x / "model.safetensors").read_bytes() for x in "ab")
    assert a == b


def test_class_wise_forgetting_reports_the_class_apart(coun_command) -> None:
    done = coun_command(*TRAIN, "--forget-class", "3", "--out", "r", "--json")
    counts = done.json["counts"]
    assert "forgotten_class_test_accuracy" in done.json
    assert done.json["unlearn_accuracy"] == 100
    assert counts["mia_members"] == counts["mia_non_members"] == counts["retain"]
    text = coun_command("evaluate", "r").out
    assert "forgotten class" in text


def test_an_index_file_and_an_original_against_its_retrain(coun_command, tmp_path: Path) -> None:
    rows = coun.load("digits", limit=300).train.index[:20].tolist()
    (tmp_path / "ids.json").write_text(json.dumps(rows))
    assert coun_command(*TRAIN, "--out", "o").code == 0
    assert coun_command(*TRAIN, "--forget-index", "ids.json", "--out", "r").code == 0
    shown = coun_command("evaluate", "o", "--against", "r", "--json").json
    assert shown["counts"]["forget"] == 20
    assert shown["retrain"]["unlearn_accuracy"] is not None


def test_a_weights_file_will_do(coun_command, tmp_path: Path) -> None:
    assert coun_command(*TRAIN, "--out", "o").code == 0
    save_file(load_file(tmp_path / "o" / "model.safetensors"), tmp_path / "mine.safetensors")
    words = ("unlearn", "mine.safetensors", "--method", "finetune", "--set", "epochs=1", *FORGET)
    refused = coun_command(*words, "--out", "u")
    assert refused.code == 2
    assert "--data and --model" in refused.err
    assert (
        coun_command(
            *words, "--data", "digits", "--limit", 300, "--model", "cnn", "--out", "u"
        ).code
        == 0
    )


def test_methods_are_listed(coun_command) -> None:
    listed = coun_command("methods", "--json").json
    assert set(listed) >= {"coun", "finetune", "not", "retrain"}
    assert listed["coun"]["settings"]["temperature"]["exclusiveMinimum"] == 0
    assert listed["finetune"]["share_of_retrain"] == 0.275  # 50 of 182 epochs
    assert "NoT" in coun_command("methods").out


def test_demo_fast(coun_command, monkeypatch, tmp_path: Path) -> None:
    """The printed lines are those of the story; tests/demo looks at the story itself."""
    row = WrongRow("digit-0001", "", True, {m: Answer("8", 0.9) for m in MODELS})
    checks = (("model", "PASSED", "is the certified model"),)
    part = Mistake(
        (row,), 146, 2, {}, "finetune", 0.25, "different", "Different.", "", 2, (), checks
    )
    digit = ForgottenDigit((Row("FT", {"average_gap": Cell.of([1.5])}),), {}, {}, "pca", "", "")
    monkeypatch.setattr("coun.demo.demo", lambda out, **_: Story(part, digit, Path(out) / "x.html"))
    done = coun_command("demo", "--fast", "--out", "demo")
    assert done.code == 0, done.err
    words = " ".join(done.out.split())
    assert "1 of 146 images of a 3 are labelled 8; the model learned 1 of them" in words
    assert "2 rows are suspicious, 1 of them wrong" in words
    assert "Audited against 2 Retrains: Different." in words
    assert "checked without network." in words
    assert "1.50" in words


def test_prepare_and_match(coun_command, tmp_path: Path) -> None:
    small = ("--data", "digits", "--limit", 60, "--model", "mlp", "--epochs", 2)
    (tmp_path / "groups.csv").write_text("id,owner\n3,ann\n5,ann\n")
    folds = ("--folds", 2, "--repeats", 1, "--fold-epochs", 1, "--groups", "groups.csv")
    trained = coun_command("train", *small, *folds, "--out", "o")
    assert "60 rows have 1 out-of-fold prediction each, made in" in trained.out
    words = ("unlearn", "o", "--method", "out_of_fold", "--set", "epochs=1", *FORGET)
    done = coun_command(*words, "--out", "u", "--json")
    assert done.code == 0, done.err
    table = np.full((60, 10), 0.1)
    np.savez(tmp_path / "own.npz", probabilities=table)
    repeated = coun_command("prepare", "o", *folds)
    assert "o is prepared so already; nothing is computed again" in repeated.err
    from_file = ("prepare", "o", "--from", "own.npz", "--json")
    other = coun_command(*from_file)
    assert other.code == 2
    assert "replace it with coun prepare --overwrite" in other.err
    given = coun_command(*from_file, "--overwrite").json
    assert given["out_of_fold"]["repeats"] == 1
    assert given["out_of_fold"]["folds"] is None
    again = ("prepare", "o", "--folds", 2, "--repeats", 2, "--fold-epochs", 1, "--overwrite")
    assert "60 rows have 2 out-of-fold predictions" in coun_command(*again).out
    for refused, reason in (
        (("prepare", "o", "--from", "own.npz", "--folds", 2), "--from takes"),
        (("train", *small, "--folds", 2, *FORGET, "--out", "r"), "--folds prepares an Original"),
        (("prepare", "o", "--from", "groups.csv"), "cannot read groups.csv"),
    ):
        result = coun_command(*refused)
        assert result.code == 2
        assert reason in result.err


@pytest.mark.parametrize(
    "command", ["demo", "train", "prepare", "unlearn", "evaluate", "audit", "methods"]
)
def test_every_command_and_option_explains_itself(coun_command, command: str) -> None:
    assert coun_command(command, "--help").code == 0
    for option in coun.cli.group.get_command(None, command).params:
        assert option.param_type_name == "argument" or option.help, option.name


def test_settings_of_one_method_are_shown(coun_command) -> None:
    shown = coun_command("methods", "coun")
    assert shown.code == 0
    for word in ("temperature", "0.1", "> 0", "sum, mean", "automatic"):
        assert word in shown.out
    example = Path(__file__).parents[2] / "examples" / "new_method.py"
    own = coun_command("methods", f"{example}:NegGradPlus")
    assert "my_neggrad_plus: Decrease the retain loss" in own.out
    refused = coun_command("methods", "cuon")
    assert refused.code == 2
    assert "did you mean 'coun'" in refused.err
