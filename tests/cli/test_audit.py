"""`coun audit` from training to a page."""

from __future__ import annotations

import json
from pathlib import Path

from coun.audit import WORDS, auditing, evidence
from coun.cli import app
from coun.cli import audit as cli

TRAIN = ("train", "--data", "digits", "--limit", 200, "--model", "mlp", "--epochs", 4)
FORGET = ("--forget-fraction", 0.2)


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


def test_what_the_command_repeats_is_what_the_library_says() -> None:
    """The command has its own copies, because importing the library loads torch."""
    assert (cli.WORDS, cli.MARGIN, cli.ALPHA) == (WORDS, auditing.MARGIN, evidence.ALPHA)


def test_bad_input_is_one_line(coun_command) -> None:
    assert coun_command(*TRAIN, "--out", "original").code == 0
    assert coun_command(*TRAIN, *FORGET, "--out", "r").code == 0
    for words, said in (
        (("audit",), "Missing argument"),
        (("audit", "nowhere"), "not a folder"),
        (("audit", "original"), "no run has a forget request"),
        (("audit", "r", "--against", "original"), "was trained on everything"),
        (("audit", "r", "--margin", -1), "expected 0 < margin"),
        (("audit", "r", "--fail-on", "guilty"), "'guilty' is not a verdict"),
    ):
        refused = coun_command(*words)
        assert refused.code == 2
        assert said in refused.err
        assert refused.err.strip().count("\n") == 0 or "evaluate" in refused.err
