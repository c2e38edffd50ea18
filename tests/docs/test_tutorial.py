"""The commands of docs/tutorial.md run in their order, and end as the page says."""

from __future__ import annotations

import json
import re
import shlex

from docs.conftest import DOCS


def test_the_commands_lead_to_the_promised_words(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (DOCS / "tutorial.md").read_text(encoding="utf-8")
    lines = "".join(re.findall(r"```sh\n(.*?)```", text, re.S)).splitlines()
    commands = [shlex.split(line)[1:] for line in lines]
    printed = command(*commands)
    assert "58 rows to forget" in printed
    gaps = [
        json.loads((tmp_path / run / "metrics.json").read_text())["average_gap"]
        for run in ("forgot", "forgot-again")
    ]
    assert 5 < gaps[0] < 15
    assert gaps[1] < 1
    assert json.loads((tmp_path / "audit" / "audit.json").read_text())["verdict"]["label"] == (
        "no difference found"
    )
