"""The eight commands of docs/requests.md lead from photographs to a verified certificate."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path

from coun.cli import main

TEXT = (Path(__file__).parents[2] / "docs/requests.md").read_text(encoding="utf-8")
BLOCK = re.search(r"## Eight commands\n\n((?:    coun .*\n)+)", TEXT)


def test_eight_commands(photographs, tmp_path, monkeypatch, capsys):
    assert BLOCK is not None
    commands = [shlex.split(line) for line in BLOCK[1].splitlines()]
    assert len(commands) == 8
    for words in commands:
        if "resnet18" in words:  # the smallest network, for a few epochs
            words[words.index("resnet18")] = "mlp"
            words += ["--set", "epochs=8"]
        monkeypatch.setattr(sys, "argv", words)
        assert main() == 0, capsys.readouterr().err
    printed = capsys.readouterr()
    assert "ids written to alice.txt" in printed.err
    assert ", due 2026-04-01, overdue" in printed.out
    assert printed.out.index("FULFILLED") < printed.out.index("next: delete the rows of request 1")
    assert "nothing was changed" in printed.out
    assert (tmp_path / "requests.html").read_text().startswith("<!doctype html>")
    content = (tmp_path / "requests/certificates/1/certificate.html").read_text()
    assert "alice" not in content
    monkeypatch.setattr(sys, "argv", ["coun", "request", "list", "requests", "--json"])
    assert main() == 0
    assert json.loads(capsys.readouterr().out)[0]["state"] == "fulfilled"
