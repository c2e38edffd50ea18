"""The code of docs/audit-a-model.md runs and gives a verdict."""

from __future__ import annotations

import re

from docs.conftest import DOCS


def test_the_code_runs(capsys):
    text = (DOCS / "audit-a-model.md").read_text(encoding="utf-8")
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", text, re.S):
        exec(compile(block, "docs/audit-a-model.md", "exec"), names)
    headline, *_, distance = capsys.readouterr().out.splitlines()
    assert headline.endswith(".")
    assert distance.endswith("points from Retrain")
