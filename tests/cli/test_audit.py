"""`coun audit` from training to a page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import save_file

import coun
from coun.audit import WORDS, audit, auditing, evidence
from coun.cli import app
from coun.cli import audit as cli
from coun.files import to_json

TRAIN = ("train", "--data", "digits", "--limit", 200, "--model", "mlp", "--epochs", 4)
FORGET = ("--forget-fraction", 0.2)


def test_a_place_that_cannot_be_written_is_refused_before_the_models_are_read(
    coun_command, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    refused = coun_command("audit", "missing", "--against", "missing too", "--out", "file/page")
    assert refused.code == 2
    assert "cannot write file/page: Not a directory" in refused.err


def test_from_runs_to_a_verdict_and_a_page(coun_command, tmp_path: Path) -> None:
    assert coun_command(*TRAIN, "--out", "original").code == 0
    for seed in (0, 1):
        assert coun_command(*TRAIN, *FORGET, "--seed", seed, "--out", f"r{seed}").code == 0
    tuned = ("unlearn", "original", "--method", "finetune", "--set", "epochs=1", *FORGET)
    assert coun_command(*tuned, "--out", "forgot").code == 0
    words = ("audit", "forgot", "--against", "r0", "--against", "r1", "--original", "original")
    done = coun_command(*words, "--out", "page", "--json")
    assert done.code == 0, done.err
    verdict = done.json["verdict"]
    assert verdict["label"] in WORDS
    assert done.json == json.loads((tmp_path / "page" / "audit.json").read_text())
    page = (tmp_path / "page" / "report.html").read_text()
    assert verdict["headline"].split(":")[0] in page
    assert page.count("data:image/png;base64,") == 4
    assert "http" not in page
    for name in ("report.html", "audit.json"):
        refused = coun_command(*words, "--out", "page")
        assert refused.code == 2
        assert f"{name} exists and is not overwritten" in refused.err
        assert refused.err.count("\n") == 1
        (tmp_path / "page" / name).unlink()
    short = coun_command(*words, "--out", "page", "--without-rows", "--json")
    assert short.json["suspicious_rows"] is None
    page = (tmp_path / "page" / "report.html").read_text()
    assert "were left out of this page" in page
    assert page.count("data:image/png;base64,") == 3
    shown = coun_command("audit", "forgot")
    assert shown.code == 0
    assert "Without a Retrain" in shown.out.replace("\n", " ")
    request, rows, *_ = shown.err.splitlines()
    assert request == "request: 20% of the rows, drawn at random (seed 0)"
    assert rows == "  40 new rows to forget, 160 to retain"
    failing = coun_command(
        "audit", "forgot", "--fail-on", f"different, {verdict['label']}", *words[2:]
    )
    assert failing.code == 3
    passing = next(word for word in WORDS if word != verdict["label"])
    assert coun_command(*words, "--fail-on", passing).code == 0
    planned = coun_command(*words, "--plan", "--json")
    assert [row["retrains"] for row in planned.json] == [0, 1, 2, 3, 5, 10]
    with app.console.capture() as printed:
        cli._show_plan(planned.json)
    assert "If no test finds a difference, the verdict is" in " ".join(printed.get().split())


@pytest.fixture(scope="module")
def supplier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bare weights of a model before and after unlearning, of two Retrains, and a list of ids."""
    folder = tmp_path_factory.mktemp("supplier")
    data = coun.load("digits", limit=200)
    split = coun.Split.by_class(data, "8")
    original = coun.train(data, "mlp", epochs=4)
    runs = {"original": original, "unlearned": coun.unlearn(original, split, "delete")}
    for seed in (1, 2):
        runs[f"retrain-{seed}"] = coun.train(data, "mlp", split=split, epochs=4, seed=seed)
    for name, run in runs.items():
        save_file(run.model.state_dict(), folder / f"{name}.safetensors")
    (folder / "ids.txt").write_text("\n".join(data.ids[i] for i in split.rows(data, "forget")))
    return folder


def test_bare_weights_get_the_verdict_that_python_gives(coun_command, supplier: Path) -> None:
    paths = {n: supplier / f"{n}.safetensors" for n in ("original", "unlearned", "retrain-1")}
    digits = ("--data", "digits", "--limit", 200, "--model", "mlp")
    against = ("--against", supplier / "retrain-1.safetensors")
    words = ("audit", paths["unlearned"], *against, "--original", paths["original"], *digits)
    done = coun_command(*words, "--forget-ids", supplier / "ids.txt", "--out", "page", "--json")
    assert done.code == 0, done.err
    assert done.err.count("training is not recorded") == 1
    assert done.json["request"]["content"] == "class"
    assert done.json["models"]["Retrain"]["folder"] == str(paths["retrain-1"])
    data = coun.load("digits", limit=200)
    given = {n: coun.Run.from_weights(path, data, "mlp") for n, path in paths.items()}
    expected = audit(
        given["unlearned"],
        given["retrain-1"],
        original=given["original"],
        split=coun.Split.by_class(data, "8"),
        rest=False,
    )
    verdict = json.loads(to_json(expected.to_json()))["verdict"]
    for key in ("label", "headline", "caveats", "evidence"):
        assert done.json["verdict"][key] == verdict[key]
    unknown = "The recipe of the audited model, the Retrain and the Original (epochs, "
    assert any(caveat.startswith(unknown) for caveat in expected.verdict.caveats)
    page = Path("page/report.html").read_text()
    assert "not recorded" in page
    assert str(paths["unlearned"]) in page


def test_weights_and_run_folders_are_audited_together(coun_command, supplier: Path) -> None:
    digits = ("--data", "digits", "--limit", 200, "--model", "mlp")
    train = ("train", *digits, "--epochs", 4, "--seed", 1, "--forget-class", 8)
    assert coun_command(*train, "--out", "r").code == 0
    model = supplier / "unlearned.safetensors"
    by_folder = coun_command("audit", model, "--against", "r", *digits, "--json")
    assert by_folder.code == 0, by_folder.err
    file = ("--against", supplier / "retrain-1.safetensors", "--forget-class", 8)
    by_file = coun_command("audit", model, *file, *digits, "--json")
    for key in ("label", "evidence"):
        assert by_folder.json["verdict"][key] == by_file.json["verdict"][key]
    measured = coun_command("evaluate", model, *file, *digits, "--json")
    assert measured.json["average_gap"] == by_file.json["distances"]["this model"]["average_gap"]
    for words, reason in (
        (("audit", model, "--forget-class", 8), "give --data and --model as well"),
        (("audit", model, *digits), "no run has a forget request on record; name the forgotten"),
        (("audit", model, *file, *digits, "--shadows", 2), "as the Original was, and no model of"),
        (("audit", "r", "--head", "fc"), "--head is for weights files"),
        (("audit", "r", "--limit", 200), "come from the record of r; leave them out"),
        (("audit", model, "--against", "r", *digits, "--forget-class", 7), "the same request"),
    ):
        refused = coun_command(*words)
        assert refused.code == 2, refused.out
        assert reason in refused.err.splitlines()[-1]


def test_what_the_command_repeats_is_what_the_library_says() -> None:
    """The command has its own copies, because importing the library loads torch."""
    assert (cli.WORDS, cli.MARGIN, cli.ALPHA) == (WORDS, auditing.MARGIN, evidence.ALPHA)


def test_bad_input_is_one_line(coun_command) -> None:
    assert coun_command(*TRAIN, "--out", "original").code == 0
    assert coun_command(*TRAIN, *FORGET, "--out", "r").code == 0
    for words, reported in (
        (("audit",), "Missing argument"),
        (("audit", "nowhere"), "does not exist"),
        (("audit", "original"), "no run has a forget request"),
        (("audit", "r", "--against", "original"), "was trained on all rows"),
        (("audit", "r", "--margin", -1), "expected 0 < margin"),
        (("audit", "r", "--fail-on", "guilty"), "'guilty' is not a verdict"),
    ):
        refused = coun_command(*words)
        assert refused.code == 2
        assert reported in refused.err
        request = ("request: ", "  ")  # which is repeated before anything else is looked at
        lines = [line for line in refused.err.splitlines() if not line.startswith(request)]
        assert len(lines) == 1 or "evaluate" in refused.err
