"""The commands of docs/tabular-and-text.md work, in their order, from the page alone."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "tabular-and-text.md"


def test_the_page_runs(
    command: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text(encoding="utf-8")
    for code in re.findall(r"```python\n(.*?)```", text, re.S):
        exec(code, {})
    lines = "".join(re.findall(r"```sh\n(.*?)```", text, re.S)).splitlines()
    assert len(lines) > 8
    printed = command(*(shlex.split(line)[1:] for line in lines))
    assert "8 rows to forget" in printed
    assert "images" not in printed
    for folder in ("audit", "text-audit"):
        page = (tmp_path / folder / "report.html").read_text(encoding="utf-8")
        assert "picture of" not in page
