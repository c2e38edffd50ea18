"""`coun audit` from training to a page."""

from __future__ import annotations

import json
from pathlib import Path

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
    assert verdict["label"] in (
        "indistinguishable",
        "closer than the original",
        "under-forgotten",
        "over-forgotten",
    )
    assert done.json == json.loads((tmp_path / "page" / "audit.json").read_text())
    page = (tmp_path / "page" / "report.html").read_text()
    assert verdict["headline"].split(":")[0] in page
    assert page.count("data:image/png;base64,") == 4
    assert "http" not in page
    shown = coun_command("audit", "forgot")
    assert shown.code == 0
    assert "Without a Retrain" in shown.out.replace("\n", " ")


def test_bad_input_is_one_line(coun_command) -> None:
    assert coun_command(*TRAIN, "--out", "original").code == 0
    assert coun_command(*TRAIN, *FORGET, "--out", "r").code == 0
    for words, said in (
        (("audit",), "Missing argument"),
        (("audit", "nowhere"), "not a folder"),
        (("audit", "original"), "no run has a forget request"),
        (("audit", "r", "--against", "original"), "was trained on everything"),
        (("audit", "r", "--margin", -1), "expected 0 < margin"),
    ):
        refused = coun_command(*words)
        assert refused.code == 2
        assert said in refused.err
        assert refused.err.strip().count("\n") == 0 or "evaluate" in refused.err
