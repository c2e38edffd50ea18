"""Every example runs, and stays short."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_example(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if "transformers" in path.read_text():
        pytest.importorskip("transformers")
    runpy.run_path(str(path), run_name="__main__")
    float(capsys.readouterr().out.split()[-2 if "points" in path.read_text() else -1])
    assert len(path.read_text().splitlines()) < 60
